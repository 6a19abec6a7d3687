"""A fitted estimator goes to disk as arrays and comes back to the bit; arrays that cannot be are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

import tacita
from tacita.baselines.base import Baseline
from tacita.baselines.gradient_boosting import plain_codes
from tacita.baselines.saved import load_estimator, save_estimator
from tacita.baselines.trees import Codes
from tacita.catalog.discover import load_class
from tacita.data.dataset import Dataset
from tacita.engine.checkpoint import read_tensors, write_tensors
from tacita.errors import CheckpointError
from tacita.modalities.memory import as_dataset
from tests.helpers import example, mixed_tables

CASES = {
    "logistic-regression": "tables",
    "random-forest": "tables",
    "gradient-boosting": "tables",
    "label-spreading": "tables",
    "minirocket": "series",
    "minirocket-self-training": "series",
    "quant": "series",
    "tfidf-svm": "text",
    "supervised-dictionary": "tables",
}


def data_of(name: str) -> Dataset:
    if name == "tables":
        return mixed_tables()
    whole = example(name)
    return whole.subset(torch.arange(min(40, len(whole))))


def fitted(method: str, data: Dataset) -> Baseline:
    learner = load_class(method)(**load_class(method).tiny)
    assert isinstance(learner, Baseline)
    return learner.fit(data)


def loaded(learner: Baseline, path: Path) -> Any:
    like = learner.estimator(learner.task_, learner.spec_, rows=2, seed=0)
    classes = len(learner.task_.answers)
    return load_estimator(path, like, learner._columns(), classes, learner.spec_)


@pytest.mark.parametrize("method", CASES)
def test_every_array_is_looked_at(method: str, tmp_path: Path) -> None:
    if CASES[method] == "series":
        pytest.importorskip("aeon")
    data = data_of(CASES[method])
    if method == "supervised-dictionary":
        data = tacita.load("wine").subset(torch.arange(0, 178, 4))
    path = tmp_path / "e.safetensors"
    learner = fitted(method, data)
    save_estimator(learner.estimator_, path)
    whole, metadata = read_tensors(path, remedy="")
    loaded(learner, path)

    def refused(tensors: dict[str, torch.Tensor], name: str) -> None:
        write_tensors(path, tensors, metadata)
        with pytest.raises(CheckpointError, match=rf"e\.safetensors: .*{name}"):
            loaded(learner, path)

    for name, tensor in whole.items():
        rest = {key: value for key, value in whole.items() if key != name}
        refused(rest, name)
        refused({**whole, name: tensor[None]}, name)
        refused({**whole, name: tensor.to(torch.int32)}, name)
        if tensor.numel() and tensor.is_floating_point():
            bad = tensor.clone()
            bad.view(-1)[0] = -torch.inf if "threshold" not in name else torch.nan
            refused({**whole, name: bad}, name)
        elif tensor.numel():
            bad = tensor.clone()
            bad.view(-1)[0] = -7
            refused({**whole, name: bad}, name)
    refused({**whole, "0/more": torch.zeros(1)}, "0/more")


@pytest.mark.parametrize("method", ["minirocket", "minirocket-self-training", "quant"])
@pytest.mark.parametrize("classes", [2, 3])
def test_baselines_of_series_come_back_to_the_bit(
    method: str, classes: int, tmp_path: Path
) -> None:
    pytest.importorskip("aeon")
    x = torch.randn(12, 20, 2, generator=torch.Generator().manual_seed(0))
    data = as_dataset(x, ["abc"[i % classes] for i in range(12)])
    learner = fitted(method, data.hide_labels(torch.arange(9)))
    save_estimator(learner.estimator_, tmp_path / "e.safetensors")
    expected = learner.logits(data)
    learner.estimator_ = loaded(learner, tmp_path / "e.safetensors")
    assert torch.equal(learner.logits(data), expected)


def test_categories_are_coded_as_scikit_learn_codes_them() -> None:
    learner, data = load_class("gradient-boosting")(), mixed_tables()
    x, y = data.x.numpy(), data.y.numpy()
    whole = learner.estimator(data.task, data.spec, len(data), 0).fit(x, y)
    assert isinstance(whole, HistGradientBoostingClassifier)
    unseen = x.copy()
    unseen[::3, np.asarray(whole.is_categorical_)] = 77.0
    expected = whole.predict_proba(unseen)
    plain_codes(whole)
    assert isinstance(whole._preprocessor, Codes)
    assert np.array_equal(whole.predict_proba(unseen), expected)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_columns_of_one_and_two_categories_come_back(task: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": list("xy") * 30, "one": ["z"] * 60, "n": np.arange(60.0) % 7})
    y = frame.n.tolist() if task == "regression" else ["p", "q", "r"] * 20
    data = as_dataset(frame, y, task=task)
    learner = fitted("gradient-boosting", data)
    save_estimator(learner.estimator_, tmp_path / "e.safetensors")
    expected = learner.logits(data)
    learner.estimator_ = loaded(learner, tmp_path / "e.safetensors")
    assert torch.equal(learner.logits(data), expected)


def test_sets_of_categories_are_not_read_beyond_their_end(tmp_path: Path) -> None:
    learner = fitted("gradient-boosting", mixed_tables())
    path = tmp_path / "e.safetensors"
    save_estimator(learner.estimator_, path)
    whole, metadata = read_tensors(path, remedy="")
    splits = (whole["0/categorical"] != 0).nonzero()[:, 0]
    assert len(splits)
    whole["0/bitset"][splits[0]] = 10**6
    write_tensors(path, whole, metadata)
    with pytest.raises(CheckpointError, match="points outside of the sets"):
        loaded(learner, path)


@pytest.mark.parametrize("method", ["random-forest", "gradient-boosting"])
def test_trees_larger_than_their_file_take_no_memory(method: str, tmp_path: Path) -> None:
    learner = fitted(method, mixed_tables())
    path = tmp_path / "e.safetensors"
    save_estimator(learner.estimator_, path)
    whole, metadata = read_tensors(path, remedy="")
    whole["0/sizes"].view(-1)[0] = 2**31 - 1
    write_tensors(path, whole, metadata)
    with pytest.raises(CheckpointError, match=r"e\.safetensors: 0/.* is of shape"):
        loaded(learner, path)


def test_a_tree_without_an_end_is_refused(tmp_path: Path) -> None:
    learner = fitted("random-forest", data_of("tables"))
    path = tmp_path / "e.safetensors"
    save_estimator(learner.estimator_, path)
    whole, metadata = read_tensors(path, remedy="")
    inner = (whole["0/left"] >= 0).nonzero()[0, 0]
    whole["0/left"][inner] = 0
    write_tensors(path, whole, metadata)
    with pytest.raises(CheckpointError, match="left points outside of its tree"):
        loaded(learner, path)
