"""An audit by hidden labels is worth nothing if what is hidden is seen, or if pools differ in their size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tacita.audit.shift import readiness
from tacita.audit.shift.readiness import Comparison, Readiness, ReadinessReport
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load
from tacita.tasks import Classification


def pair(unlabelled: int = 0) -> Dataset:
    """Zeros and ones of the digits, of which some have no label."""
    data = load("digits")
    two = replace(data.subset(data.y < 2), task=Classification(("0", "1")))
    y = two.y.clone()
    y[:unlabelled] = -1
    return replace(two, targets=y, index=torch.arange(len(two)))


@pytest.fixture(scope="module")
def seen() -> tuple[ReadinessReport, list[tuple[str, Dataset, Dataset]], Dataset]:
    """A report of one step a training, and what each training was given."""
    given: list[tuple[str, Dataset, Dataset]] = []

    class Spied(readiness._Watched):
        def fit(self, data: Any, y: Any = None, *, seed: int = 0) -> Any:
            given.append((self.objective.__name__, data, self.truth))
            return super().fit(data, y, seed=seed)

    data = pair(60)
    audit = Readiness(steps=1, seeds=2, per_class=(3, 10), batch_size=4, log_every=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readiness, "_Watched", Spied)
        report = audit.measure(data)
    return report, given, data


def test_both_networks_get_the_same_samples_and_none_to_be_scored_on(seen: Any) -> None:
    report, given, data = seen
    assert [name for name, *_ in given[:4]] == ["Supervised", "FixMatch"] * 2
    trained = torch.cat([few.index for _, few, _ in given]).unique()
    held = set(data.index.tolist()) - set(trained.tolist())
    assert len(held) == report.held_out
    for (_, alone, _), (_, semi, _) in zip(given[::2], given[1::2], strict=True):
        assert torch.equal(alone.index, semi.index)
        assert torch.equal(alone.y, semi.y)
        assert alone.normaliser is semi.normaliser is not None
        assert torch.equal(alone.x, data.x[alone.index])


def test_labels_are_as_many_as_said_and_the_truth_is_of_hidden_ones(seen: Any) -> None:
    report, given, data = seen
    assert [point.labels for point in report.volumes] == [6, 20]
    for (_, few, truth), labels in zip(given[:8:2], [6, 6, 20, 20], strict=True):
        assert torch.bincount(few.y[few.labelled]).tolist() == [labels // 2] * 2
        assert len(few) == len(data) - report.held_out
        assert not set(few.index[few.labelled].tolist()) & set(truth.index.tolist())
        assert torch.equal(truth.y, data.y[truth.index])
        assert len(truth) + labels == int(data.labelled.sum()) - report.held_out


def test_pools_of_other_shares_have_one_size_and_known_classes(seen: Any) -> None:
    report, given, data = seen
    assert [point.share for point in report.shares] == [0.5, 0.7, 0.9, 0.98]
    common = int(torch.bincount(given[0][2].y).argmax())
    sizes = set()
    for number, (_, few, truth) in enumerate(given[8::2]):
        share = report.shares[number // 2].share
        assert bool(data.labelled[few.index].all())
        assert int(few.labelled.sum()) == report.shares[0].labels
        assert abs(float((truth.y == common).sum()) - share * len(truth)) < 1
        sizes.add(len(truth))
    assert len(sizes) == 1
    assert sizes.pop() >= readiness.FEWEST


def test_distances_and_guesses_are_there_and_all_is_told(seen: Any) -> None:
    report, *_ = seen
    assert report.distance is not None
    assert report.distance.sizes == (report.held_out, 60)
    assert report.cheap is not None
    assert [row["step"] for row in report.guesses] == [1]
    text = str(report)
    for word in ("labels ", "share ", "50% ", "guesses ", "distance ", "before ", "answer "):
        assert word in text
    assert max(map(len, text.splitlines())) < 120


def test_volumes_go_up_to_the_rarest_class_and_small_pools_have_no_shares() -> None:
    data = pair()
    few = data.hide_labels(draw_labels(data, 20, 0))
    audit = Readiness(steps=1, seeds=1, batch_size=4)
    report = audit.measure(few)
    assert [point.labels for point in report.volumes] == [4, 16, 28]
    assert report.shares == ()
    assert math.isnan(report.volumes[0].error)
    assert report.answer.startswith("no error is known of one seed")
    assert "nan" not in str(report)


def point(labels: int, gains: list[float]) -> Comparison:
    alone = (0.7,) * len(gains)
    semi = tuple(0.7 + gain for gain in gains)
    return Comparison(labels, alone, semi, alone, semi)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.10, 0.12, 0.11], "yes: fixmatch gains +11.0 +- 0.6 points with 40 labels"),
        ([-0.10, -0.12, -0.11], "no: fixmatch loses, -11.0 +- 0.6 points with 40 labels"),
        ([0.10, -0.12, 0.03], "not that it could be seen: +0.3 +- 6.5 points with 40 labels"),
    ],
)
def test_the_answer_is_read_against_its_error(gains: list[float], said: str) -> None:
    report = ReadinessReport(
        "fixmatch", 10, (point(8, [-0.5, -0.5]), point(40, gains)), (), (), None, None
    )
    assert report.answer == said
    most = point(40, gains)
    assert most.gain == pytest.approx(np.mean(gains))
    assert most.error == pytest.approx(np.std(gains, ddof=1) / np.sqrt(3))
    better = replace(report, volumes=(point(8, [0.2, 0.2]), most))
    assert better.answer == f"{said}; its gain is largest (+20.0) with 8"


def test_a_gain_on_real_digits_is_found() -> None:
    data = load("digits")
    part = data.subset(torch.arange(0, len(data), 2))
    report = Readiness(steps=120, batch_size=8, seeds=1, per_class=(2,), lean=()).measure(part)
    assert report.volumes[0].gain > 0.02
    assert report.guesses[-1]["mask_rate"] > 0.1
    assert report.distance is None


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="semi='simclr'"):
        Readiness(semi="simclr")
    with pytest.raises(ConfigError, match="seeds=0"):
        Readiness(seeds=0)
    with pytest.raises(ConfigError, match="regression"):
        Readiness().measure("diabetes")
    with pytest.raises(DataError, match="cannot be split"):
        Readiness().measure(pair().hide_labels(torch.tensor([0])))
