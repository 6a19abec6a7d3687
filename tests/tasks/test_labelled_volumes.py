"""Volumes with a label a voxel go wherever unlabelled ones go: replayed, merged, joined, kept aside, and
into methods that are made for other labels, which say so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import tacita
from tacita.apps.simcore import merge
from tacita.data.dataset import Dataset
from tacita.engine.batches import with_past
from tacita.errors import ConfigError
from tacita.modalities.memory import as_dataset
from tacita.model.model import Model
from tacita.stream.pretraining import kept_aside

SMALL = {"steps": 2, "batch_size": 2, "quiet": True}
UNET = {"encoder": "unet", "encoder.widths": [4, 8, 8]}


def volumes(count: int = 4, seed: int = 0) -> Dataset:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 1, 4, 16, 16)).astype(np.float32)
    y = (x[:, 0] > 1).astype(np.int64) * 3
    y[-1] = -1
    return as_dataset(x, y)


def test_labelled_volumes_are_replayed() -> None:
    first = tacita.pretrain("global-contrast", volumes(), **SMALL, **UNET)
    options = {**SMALL, "replay": volumes(seed=1), "replay_share": 0.5}
    second = tacita.pretrain("local-contrast", volumes(6, seed=2), start=first, **options)
    assert isinstance(second, Model)
    whole = with_past(volumes(6), volumes(seed=1))
    assert whole.y.shape == (10, 4, 16, 16)
    assert whole.labelled.tolist() == [True] * 5 + [False] * 5
    assert whole.index.tolist() == list(range(10))


def test_labelled_volumes_are_merged_with_a_selection() -> None:
    both = merge(volumes(), volumes(seed=1), torch.tensor([2, 0]))
    assert both.y.shape == (6, 4, 16, 16)
    assert both.labelled.tolist() == [True] * 3 + [False] * 3
    assert torch.equal(both.x[4:], volumes(seed=1).x[[2, 0]])


def test_unlabelled_volumes_stand_beside_labelled_ones() -> None:
    more = volumes(3, seed=1).x.numpy()
    model = tacita.adapt("segmentation", volumes(), unlabelled=more, **SMALL, **UNET)
    assert model.predict(more).shape == (3, 4, 16, 16)


def test_volumes_are_kept_aside_whether_they_have_labels_or_not() -> None:
    kept, aside = kept_aside(volumes(10), seed=0)
    assert (len(kept), len(aside)) == (8, 2)
    assert sorted([*kept.index.tolist(), *aside.index.tolist()]) == list(range(10))


@pytest.mark.parametrize(
    ("method", "said"),
    [
        ("supervised", "not learnt from logits of shape"),
        ("linear-probe", "not learnt from logits of shape"),
        ("knn", "segmentation is not predicted by neighbours"),
        ("fixmatch", "fixmatch does not do segmentation"),
    ],
)
def test_what_learns_a_label_a_sample_says_so(method: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        tacita.adapt(method, volumes(), quiet=True, **UNET)
