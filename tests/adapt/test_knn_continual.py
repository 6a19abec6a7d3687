"""Neighbours that are extended or forget are, bit for bit, those that were never taught otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tacita.adapt.knn import Knn
from tacita.continual import Ledger
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.encoders import build
from tacita.errors import CheckpointError, ConfigError, DataError
from tacita.modalities.load import load
from tacita.model.model import Model
from tacita.tasks import Classification
from tests.engine.runs import digits_data, equal, weights
from tests.models import quick_model

DATA = digits_data(samples=120, labelled=60)
FIRST, NEXT = DATA.subset(torch.arange(40)), DATA.subset(torch.arange(40, 60))


@pytest.fixture
def encoder() -> Encoder:
    torch.manual_seed(0)
    return build("residual-cnn", DATA.spec, width=4).eval()


def same(knn: Knn, other: Knn) -> None:
    assert equal(weights(knn.head), weights(other.head))
    assert knn.task_ == other.task_
    assert torch.equal(knn.logits(DATA), other.logits(DATA))
    assert knn.head.k == other.head.k


def test_extended_it_is_what_learns_all_at_once(encoder: Encoder) -> None:
    once = Knn(encoder).fit(DATA.subset(torch.arange(60)))
    same(Knn(encoder).fit(FIRST).extend(NEXT), once)
    # Samples without a label are none to learn.
    same(Knn(encoder).fit(FIRST).extend(DATA.subset(torch.arange(40, 120))), once)


@pytest.mark.parametrize("gone", [[3], [0, 17, 39], [5, 4]])
def test_forgetting_is_never_having_known(gone: list[int], encoder: Encoder) -> None:
    knn = Knn(encoder).fit(FIRST).extend(NEXT)
    index = FIRST.index[torch.tensor(gone)]
    receipt = knn.forget(index)
    kept = torch.tensor([i for i in range(60) if i not in gone])
    same(knn, Knn(encoder).fit(DATA.subset(kept)))
    assert receipt.index == tuple(index.tolist())
    assert (receipt.session, receipt.left) == (0, 60 - len(gone))
    assert receipt.exact == ("head",)
    assert receipt.unchanged == ("encoder", "normaliser")
    further = knn.forget(NEXT.index[:2], session=1)
    assert further.left == receipt.left - 2
    same(knn, Knn(encoder).fit(DATA.subset(kept[~torch.isin(kept, torch.tensor([40, 41]))])))


def test_fewer_samples_than_neighbours_are_all_of_them(encoder: Encoder) -> None:
    two = DATA.subset(torch.arange(60)[torch.isin(DATA.y[:60], torch.tensor([0, 1]))])
    knn = Knn(encoder, k=len(two)).fit(two)
    knn.forget(two.index[:1])
    same(knn, Knn(encoder, k=len(two)).fit(two.subset(torch.arange(1, len(two)))))


def coded(data: Dataset, names: tuple[str, ...]) -> Dataset:
    """The samples of some digits, under a task of these alone."""
    codes = torch.full((11,), -1)
    codes[torch.tensor([int(name) for name in names])] = torch.arange(len(names))
    y = codes[data.y]
    return data.with_labels(y, Classification(names)).subset(y != -1)


def test_new_classes_come_behind_those_that_are_known(encoder: Encoder) -> None:
    labelled = DATA.subset(torch.arange(60))
    base, new = coded(labelled, ("3", "1", "8")), coded(labelled, ("0", "3"))
    knn = Knn(encoder).fit(base).extend(new)
    assert knn.task_.classes == ("3", "1", "8", "0")
    assert knn.predict_proba(DATA).shape == (120, 4)
    both = torch.cat([base.y, torch.where(new.y == 1, 0, 3)])
    assert torch.equal(knn.head.targets.argmax(1), both)
    assert knn.score(new) > 0.6


@pytest.mark.parametrize(
    ("what", "error", "message"),
    [
        (lambda knn: knn.forget([10**6]), DataError, "never learnt"),
        (lambda knn: knn.forget([int(FIRST.index[0])] * 2), DataError, "twice"),
        (lambda knn: knn.forget(FIRST.index[FIRST.y == 4]), DataError, "last samples of"),
        (lambda knn: knn.forget(NEXT.index), DataError, "never learnt"),
        (
            lambda knn: knn.extend(DATA.subset(torch.arange(60, 90))),
            DataError,
            "no sample has a label",
        ),
        (lambda knn: knn.extend(load("wine")), DataError, "images"),
    ],
)
def test_what_is_refused_changes_nothing(
    what: Callable[[Knn], object], error: type[Exception], message: str, encoder: Encoder
) -> None:
    knn = Knn(encoder).fit(FIRST)
    head, ledger, task = knn.head, knn.ledger_, knn.task_
    before = weights(head)
    with pytest.raises(error, match=message):
        what(knn)
    assert knn.head is head
    assert equal(weights(head), before)
    assert (knn.ledger_, knn.task_) == (ledger, task)


def test_a_sample_is_forgotten_once(encoder: Encoder) -> None:
    knn = Knn(encoder).fit(FIRST)
    knn.forget([int(FIRST.index[0])])
    with pytest.raises(DataError, match="forgotten already"):
        knn.forget([int(FIRST.index[0])])


def test_before_fit_and_for_numbers_it_says_what_can_be_done(encoder: Encoder) -> None:
    with pytest.raises(ConfigError, match="Call fit first"):
        Knn(encoder).forget([1])
    numbers = load("diabetes").subset(torch.arange(50))
    knn = Knn(build("feature-tokens", numbers.spec, dim=8, depth=1)).fit(numbers)
    for act in (lambda: knn.forget([1]), lambda: knn.extend(numbers)):
        with pytest.raises(ConfigError, match="rows of one class each"):
            act()


def test_rows_in_memory_extend_too(encoder: Encoder) -> None:
    raw = replace(DATA, normaliser=None)
    knn = Knn(encoder).fit(FIRST)
    words = [DATA.task.classes[code] for code in DATA.y[40:60]]
    knn.extend(raw.x[40:60], words)
    same(knn, Knn(encoder).fit(FIRST).extend(NEXT))


def test_a_saved_model_still_knows_whom_to_forget(tmp_path: Path) -> None:
    saved = quick_model("knn", "images")
    saved.save(tmp_path)
    knn, again = saved.learner, Model.load(tmp_path).learner
    assert isinstance(knn, Knn)
    assert isinstance(again, Knn)
    assert again.ledger_ == knn.ledger_
    gone = knn.ledger_.kept()[:2]
    assert again.forget(gone) == knn.forget(gone)
    assert equal(weights(again.head), weights(knn.head))
    Ledger().added("other", torch.arange(3)).save(tmp_path / "ledger.json")
    with pytest.raises(CheckpointError, match="damaged"):
        Model.load(tmp_path)
    (tmp_path / "ledger.json").unlink()
    with pytest.raises(CheckpointError, match="do not belong together"):
        Model.load(tmp_path)


def test_a_ledger_of_another_memory_is_refused(encoder: Encoder, tmp_path: Path) -> None:
    knn = Knn(encoder).fit(FIRST)
    Ledger().added("other", torch.arange(3)).save(tmp_path / "ledger.json")
    with pytest.raises(CheckpointError, match="3 samples, but the memory has 40"):
        knn.load_files(tmp_path, 0)
