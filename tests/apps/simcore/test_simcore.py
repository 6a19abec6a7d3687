"""What goes wrong around the selection: the pool's labels leak in, samples share a number, the model
that selects is trained on, or one of the two data sets is of another kind."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from tacita.apps.simcore import SimCore, merge
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tacita.tasks import UNLABELLED, Classification
from tacita.verbs.pretrain import pretrain
from tacita.verbs.simcore import pretrain_on_coreset


def fours_and_nines() -> tuple[Dataset, Dataset]:
    """100 digits of two classes, and all other digits as the pool."""
    digits = load("digits")
    wanted = ((digits.y == 4) | (digits.y == 9)).nonzero().squeeze(1)[:100]
    outside = ~torch.isin(torch.arange(len(digits)), wanted)
    return digits.subset(wanted), digits.subset(outside)


def test_most_of_what_is_selected_by_a_pca_is_of_the_targets_classes() -> None:
    target, pool = fours_and_nines()
    pca = PCA(30, random_state=0).fit(target.x.flatten(1).numpy())
    features = [pca.transform(data.x.flatten(1).numpy()) for data in (target, pool)]
    selection = (
        SimCore(k=20, budget=200, stop=0.0).fit(target=features[0], pool=features[1]).selection_
    )
    of_pool = torch.isin(pool.y, torch.tensor([4, 9])).float()
    assert len(selection.indices) == 200
    assert float(of_pool[selection.indices].mean()) > 4 * float(of_pool.mean())


def test_the_selection_knows_its_sizes_and_who_picked() -> None:
    draw = np.random.default_rng(0)
    target, pool = draw.standard_normal((30, 6)), draw.standard_normal((500, 6))
    selection = SimCore(k=10, patience=5).fit(target=target, pool=pool).selection_
    assert selection.prototypes.shape == (10, 6)
    assert int(selection.counts.sum()) == len(selection.indices)
    assert (selection.target, selection.pool) == (30, 500)
    similarity = pool / np.linalg.norm(pool, axis=1, keepdims=True) @ selection.prototypes.numpy().T
    np.testing.assert_allclose(
        similarity[selection.picks.indices, selection.picks.prototypes],
        selection.picks.similarities,
        atol=1e-6,
    )
    assert selection.line().startswith(f"{len(selection.indices)} of 500 (")
    assert selection.line().endswith("the next were no longer near")


def test_the_budget_is_fifty_times_the_target() -> None:
    draw = np.random.default_rng(0)
    selection = (
        SimCore(stop=0.0)
        .fit(target=draw.standard_normal((2, 6)), pool=draw.standard_normal((300, 6)))
        .selection_
    )
    assert len(selection.indices) == 100
    assert selection.picks.stopped == "budget"


def test_merged_samples_have_numbers_of_their_own_and_no_label_of_the_pool() -> None:
    target, pool = fours_and_nines()
    target = target.hide_labels(torch.arange(20))
    pool = replace(pool, groups=torch.zeros(len(pool), dtype=torch.int64))
    chosen = torch.tensor([7, 3, 500])
    both = merge(target, pool, chosen)
    assert torch.equal(both.x, torch.cat([target.x, pool.x[chosen]]))
    assert torch.equal(both.y[:100], target.y)
    assert both.y[100:].tolist() == [UNLABELLED] * 3
    assert both.task == target.task
    assert both.index.tolist() == list(range(103))
    assert both.normaliser is None


def test_merged_series_are_padded_and_regression_targets_are_missing() -> None:
    short = as_dataset(torch.rand(6, 5, 2), torch.rand(6), task="regression")
    long = as_dataset(torch.rand(4, 9, 2))
    both = merge(short, long, torch.tensor([2]))
    assert both.x.shape == (7, 9, 2)
    assert both.lengths is not None
    assert both.lengths.tolist() == [5] * 6 + [9]
    assert both.y[6].isnan()


def test_pretraining_selects_by_the_model_of_the_target_and_starts_anew() -> None:
    target, pool = fours_and_nines()
    options = {"steps": 2, "batch_size": 32, "quiet": True, "encoder": "residual-cnn"}
    simcore = SimCore(k=10, budget=40, stop=0.0)
    model, selection = pretrain_on_coreset("simclr", target, pool, simcore=simcore, **options)
    assert len(selection.indices) == 40
    retrieval = pretrain("simclr", target, **options)
    again = simcore.fit(target=retrieval.embed(target), pool=retrieval.embed(pool)).selection_
    assert selection.indices.tolist() == again.indices.tolist()
    expected = pretrain("simclr", merge(target, pool, selection.indices), **options)
    np.testing.assert_array_equal(model.embed(target), expected.embed(target))
    given, _ = pretrain_on_coreset(
        "simclr", target, pool, simcore=simcore, retrieval=retrieval, **options
    )
    np.testing.assert_array_equal(given.embed(target), model.embed(target))


def test_names_and_arrays_are_read_as_everywhere() -> None:
    digits = load("digits")
    _, selection = pretrain_on_coreset(
        "simclr",
        digits.x[:64, 0].numpy(),
        "digits",
        simcore=SimCore(k=5, budget=10),
        steps=1,
        batch_size=32,
        quiet=True,
    )
    assert selection.pool == len(digits)


def test_data_of_another_kind_are_refused() -> None:
    target, pool = fours_and_nines()
    for other in (
        pool.with_samples(pool.x.float()),
        pool.with_samples(pool.x[:, :, :5]),
        Dataset.of("tables", torch.rand(9, 3), torch.zeros(9, dtype=torch.int64), Classification()),
    ):
        with pytest.raises(DataError, match="Give samples like the new ones"):
            merge(target, other, torch.tensor([0]))


@pytest.mark.parametrize("options", [{"k": 0}, {"budget": 0}, {"patience": 0}, {"stop": -1.0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        SimCore(**options)
