"""An audit by hidden labels is worth nothing if what is hidden is seen, or if pools differ in their size."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import Trained
from tacita.audit.shift import readiness
from tacita.audit.shift.readiness import Comparison, Readiness, ReadinessReport, Scores
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load
from tacita.semisup.fixmatch import FixMatch
from tacita.tasks import Classification


def pair(unlabelled: int = 0) -> Dataset:
    """Zeros and ones of the digits, of which some have no label."""
    data = load("digits")
    two = replace(data.subset(data.y < 2), task=Classification(("0", "1")))
    y = two.y.clone()
    y[:unlabelled] = -1
    return replace(two, targets=y, index=torch.arange(len(two)))


@pytest.fixture(scope="module")
def seen() -> tuple[ReadinessReport, list[tuple[Trained, Dataset]], Dataset]:
    """A report of one step a training, and each learner with the samples that it was given."""
    given: list[tuple[Trained, Dataset]] = []
    fit = Trained.fit

    def spied(self: Trained, data: Any, y: Any = None, *, seed: int = 0) -> Any:
        given.append((self, data))
        return fit(self, data, y, seed=seed)

    data = pair(60)
    audit = Readiness(
        options={"alignment": "none"},
        steps=1,
        seeds=2,
        per_class=(3, 10),
        batch_size=4,
        log_every=1,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trained, "fit", spied)
        report = audit.measure(data)
    return report, given, data


def test_all_learners_get_the_same_samples_and_none_to_be_scored_on(seen: Any) -> None:
    report, given, data = seen
    trained = torch.cat([few.index for _, few in given]).unique()
    held = set(data.index.tolist()) - set(trained.tolist())
    assert len(held) == report.held_out
    assert len(given) == 3 * 2 * (len(report.volumes) + len(report.shares))
    for (_, semi), (_, alone), (_, supervised) in zip(
        given[::3], given[1::3], given[2::3], strict=True
    ):
        for other in (alone, supervised):
            assert torch.equal(other.index, semi.index)
            assert torch.equal(other.y, semi.y)
            assert other.normaliser is semi.normaliser is not None
            assert torch.equal(other.x, data.x[other.index])


def test_a_method_is_compared_with_itself_without_the_pool(seen: Any) -> None:
    _, given, _ = seen
    for (semi, _), (alone, _), (supervised, _) in zip(
        given[::3], given[1::3], given[2::3], strict=True
    ):
        assert semi.objective is alone.objective is FixMatch
        assert semi.options == {"alignment": "none"}
        assert alone.options == {"alignment": "none", "unlabelled_weight": 0.0}
        assert semi.engine.items() >= alone.engine.items()
        assert supervised.objective is Supervised
        starts = [learner.begin.state_dict() for learner in (semi, alone, supervised)]
        for name, value in starts[0].items():
            assert all(torch.equal(start[name], value) for start in starts)


def test_labels_are_as_many_as_said_and_the_truth_is_of_hidden_ones(seen: Any) -> None:
    report, given, data = seen
    assert [point.labels for point in report.volumes] == [6, 20]
    for (semi, few), labels in zip(given[:12:3], [6, 6, 20, 20], strict=True):
        truth = semi.truth
        assert torch.bincount(few.y[few.labelled]).tolist() == [labels // 2] * 2
        assert len(few) == len(data) - report.held_out
        assert not set(few.index[few.labelled].tolist()) & set(truth.index.tolist())
        assert torch.equal(truth.y, data.y[truth.index])
        assert len(truth) + labels == int(data.labelled.sum()) - report.held_out


def test_pools_of_other_shares_have_one_size_and_known_classes(seen: Any) -> None:
    report, given, data = seen
    assert [point.share for point in report.shares] == [0.5, 0.7, 0.9, 0.98]
    common = int(torch.bincount(given[0][0].truth.y).argmax())
    sizes = set()
    for number, (semi, few) in enumerate(given[12::3]):
        truth = semi.truth
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
    alone = Scores((0.7,) * len(gains), (0.1,) * len(gains))
    worse = Scores((0.6,) * len(gains), (0.1,) * len(gains))
    semi = Scores(tuple(0.7 + gain for gain in gains), (0.1,) * len(gains))
    return Comparison(labels, semi=semi, alone=alone, supervised=worse)


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([0.10, 0.12, 0.11], "yes: fixmatch gains +11.0 +- 0.6 points with 40 labels (p 0.001)"),
        ([-0.10, -0.12, -0.11], "no: fixmatch loses, -11.0 +- 0.6 points with 40 labels (p 0.001)"),
        (
            [0.10, -0.12, 0.03],
            "not that it could be seen: +0.3 +- 6.5 points with 40 labels (p 0.48)",
        ),
        # Over twice its error, but of two seeds.
        ([0.10, 0.06], "not that it could be seen: +8.0 +- 2.0 points with 40 labels (p 0.08)"),
        ([0.0, 0.0], "not that it could be seen: +0.0 +- 0.0 points with 40 labels (p 1.00)"),
    ],
)
def test_the_answer_is_read_against_its_error(gains: list[float], said: str) -> None:
    report = ReadinessReport(
        "fixmatch", 10, (point(8, [-0.5, -0.5]), point(40, gains)), (), (), None, None
    )
    assert report.answer == said
    most = point(40, gains)
    assert most.gain == pytest.approx(np.mean(gains))
    assert most.error == pytest.approx(np.std(gains, ddof=1) / np.sqrt(len(gains)), abs=1e-12)
    better = replace(report, volumes=(point(8, [0.2, 0.2]), most))
    assert better.answer == f"{said}; its gain is largest (+20.0 +- 0.0) with 8"


def test_the_gain_is_over_the_better_of_both_baselines() -> None:
    few = point(40, [0.1, 0.1])
    assert few.gain == pytest.approx(0.1)
    swapped = replace(few, alone=few.supervised, supervised=few.alone)
    assert swapped.gain == pytest.approx(0.1)
    assert swapped.baseline is few.baseline is few.alone


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_gains_that_are_noise_are_rarely_taken_for_gains(seeds: int) -> None:
    draw = np.random.default_rng(seeds)
    told = {"yes": 0, "no": 0, "not": 0}
    for _ in range(2000):
        most = point(40, draw.normal(0, 0.1, seeds).tolist())
        report = ReadinessReport("fixmatch", 10, (most,), (), (), None, None)
        told[report.answer.split()[0].strip(":")] += 1
    # One in twenty of each, and its own chance over 2,000 draws; by twice the error it is 15% of two seeds.
    assert 0.03 < told["yes"] / 2000 < 0.07
    assert 0.03 < told["no"] / 2000 < 0.07


@pytest.mark.long
def test_a_method_that_learns_nothing_from_the_pool_is_never_said_to_gain() -> None:
    data = load("digits")
    part = data.subset(torch.arange(0, len(data), 3))
    audit = Readiness(
        options={"unlabelled_weight": 0.0},
        steps=15,
        batch_size=8,
        seeds=2,
        per_class=(4,),
        lean=(),
    )
    for seed in range(1000, 1003):
        report = audit.measure(part, seed=seed)
        (most,) = report.volumes
        assert most.gain <= 0
        assert report.answer.startswith("not that it could be seen")
        # Beside the supervised network alone it would have been said to gain: its views are weaker.
        assert np.mean(most.semi.accuracy) > np.mean(most.supervised.accuracy) + 0.05


@pytest.mark.long
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
    with pytest.raises(ConfigError, match=r"options of fixmatch\.lambda: unknown"):
        Readiness(options={"lambda": 1.0})
    with pytest.raises(ConfigError, match="seeds=0"):
        Readiness(seeds=0)
    with pytest.raises(ConfigError, match="regression"):
        Readiness().measure("diabetes")
    with pytest.raises(DataError, match="cannot be split"):
        Readiness().measure(pair().hide_labels(torch.tensor([0])))
