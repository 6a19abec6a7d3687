"""A stream of data sets: each schedule must cost the same steps, start where it says, and be measured
on samples that nothing learnt from.
"""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch

from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.engine.carry import load_carried
from tacita.engine.history import Progress
from tacita.engine.schedules import Infinite
from tacita.engine.train import train
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load
from tacita.pretrain.barlow_twins import BarlowTwins
from tacita.pretrain.mae import MAE
from tacita.semisup.fixmatch import FixMatch
from tacita.stream.pretraining import (
    ContinualPretraining,
    StreamFigures,
    held_out_loss,
    kept_aside,
    probe_accuracies,
)
from tests.engine.runs import equal, weights

DIGITS = load("digits")
SETS = [DIGITS.subset(torch.isin(DIGITS.y, torch.tensor([i, i + 1]))) for i in (0, 2, 4)]
ENGINE = {"batch_size": 32, "learning_rate": 1e-2, "log_every": 1, "warmup": 0.2}


def mae(data: Dataset = DIGITS) -> MAE:
    torch.manual_seed(0)
    return MAE(build("vit", data.spec, dim=12, depth=1), decoder_dim=8, decoder_depth=1)


def streamed(schedule: Any, folder: Path, **options: Any) -> tuple[ContinualPretraining, Any]:
    stream = ContinualPretraining(mae(), schedule=schedule, steps=10, engine=ENGINE, **options)
    return stream, stream.fit(SETS, folder=folder)


def rates(stream: ContinualPretraining) -> list[list[float]]:
    return [[row["rate"] / 1e-2 for row in history.rows] for history in stream.histories_]


def test_the_infinite_stream_is_trainings_that_go_on_from_each_other(tmp_path: Path) -> None:
    stream, figures = streamed("infinite", tmp_path, replay_share=0.25)
    parts = [kept_aside(data, 0) for data in SETS]
    by = parts[0][0].normalised().normaliser
    sets, held = ([part[i].normalised(by) for part in parts] for i in (0, 1))
    options = {**MAE.engine_defaults, **ENGINE, "steps": 10, "schedule": "infinite"}
    first, second = mae(), mae()
    state = tmp_path / "mine.safetensors"
    train(first, sets[0], keep=state, **options)
    train(second, sets[1], start=state, replay=sets[0], replay_share=0.25, **options)
    losses = [[held_out_loss(o, part, 32, 0) for part in held] for o in (first, second)]
    assert figures.loss[0] == tuple(losses[0][:1])
    assert figures.loss[1] == tuple(losses[1][:2])
    assert [len(row) for row in figures.loss] == [1, 2, 3]
    assert figures.accuracy is not None
    assert figures.accuracy[1] == probe_accuracies(
        second.encoder, list(zip(sets, held, strict=True))[:2]
    )
    # 8 steps of each data set are of the main line, 2 of the branch.
    assert load_carried(stream.state_).carried.step == 24
    assert sorted(rates(stream)[1] + rates(stream)[2], reverse=True)[0] == 0.375


def test_a_repeated_cosine_restarts_and_one_cosine_does_not(tmp_path: Path) -> None:
    repeated = rates(streamed("repeated-cosine", tmp_path / "a")[0])
    assert repeated[0] == repeated[1] == repeated[2]
    assert repeated[0][:2] == [0.5, 1.0]
    one = [*chain(*rates(streamed("one-cosine", tmp_path / "b")[0]))]
    assert one[:2] == [0.5, 1.0]
    assert one[2:] == sorted(one[2:], reverse=True)
    assert len(one) == 30
    assert one[-1] < 0.01 < one[20]
    constant = [*chain(*rates(streamed("constant", tmp_path / "c")[0]))]
    assert constant == [0.5] + [1.0] * 29


def test_a_schedule_in_steps_anneals_each_branch_by_its_own(tmp_path: Path) -> None:
    schedule = Infinite(warmup=2, cooldown=3, constant=0.5, anneal=4, final=0.05)
    stream = ContinualPretraining(mae(), schedule=schedule, steps=[12, 12, 8], engine=ENGINE)
    stream.fit(SETS, folder=tmp_path)
    assert [load_carried(tmp_path / f"state-{i}.safetensors").carried.step for i in range(3)] == [
        8,
        16,
        20,
    ]
    first, second, third = rates(stream)
    falling = [0.5, *(pytest.approx(0.5 * 0.1 ** (i / 4)) for i in (1, 2, 3))]
    assert first[8:] == falling
    assert second == [pytest.approx(0.5)] * 8 + falling
    assert third == [pytest.approx(0.5)] * 4 + falling


def test_the_first_weights_are_left_alone_and_the_seed_decides(tmp_path: Path) -> None:
    stream, figures = streamed("infinite", tmp_path / "a")
    assert equal(weights(stream.objective), weights(mae()))
    again, same = streamed("infinite", tmp_path / "b")
    assert same == figures
    assert equal(weights(again.objective_), weights(stream.objective_))


class Stopped(Exception):
    pass


@pytest.mark.parametrize(("number", "step"), [(0, 10), (1, 3), (2, 9)])
def test_a_stream_that_is_stopped_goes_on_to_the_same_figures(
    number: int, step: int, tmp_path: Path
) -> None:
    whole, expected = streamed("infinite", tmp_path / "whole", replay_share=0.25)

    def halting(training: int) -> list[Any]:
        def halt(progress: Progress) -> None:
            if (training, progress.step) == (number, step):
                raise Stopped

        return [halt]

    options = {"steps": 10, "replay_share": 0.25}
    engine = {**ENGINE, "checkpoint_every": 0.0}
    stream = ContinualPretraining(mae(), engine=engine, **options)
    folder = tmp_path / "stopped"
    with pytest.raises(Stopped):
        stream.fit(SETS, folder=folder, callbacks=halting)
    resumed = ContinualPretraining(mae(), engine=engine, **options)
    assert resumed.fit(SETS, folder=folder, resume=True) == expected
    assert equal(weights(resumed.objective_), weights(whole.objective_))


def test_samples_kept_aside_are_none_of_those_learnt_from() -> None:
    grouped = Dataset.of(
        "tables", torch.randn(50, 3), torch.full((50,), -1), groups=torch.arange(50) // 5
    )
    kept, aside = kept_aside(grouped, 0)
    assert sorted([*kept.index.tolist(), *aside.index.tolist()]) == list(range(50))
    assert kept.groups is not None
    assert aside.groups is not None
    assert not set(kept.groups.tolist()) & set(aside.groups.tolist())
    assert len(aside) == 10
    assert not kept.labelled.any()


def test_the_loss_is_the_mean_over_whole_batches_in_evaluation_mode() -> None:
    data = SETS[0].subset(torch.arange(70)).normalised()
    objective = BarlowTwins(build("residual-cnn", data.spec, width=4), projector=(8, 8))
    objective.train()
    before = weights(objective)
    found = held_out_loss(objective, data, 32, seed=3)
    assert objective.training
    assert equal(weights(objective), before)
    objective.eval()
    torch.manual_seed(3)
    with torch.no_grad():
        first, second = (
            float(objective.loss(data.take(torch.arange(i, i + 32))).total) for i in (0, 32)
        )
    assert found == pytest.approx((first + second) / 2)
    # Fewer than a batch are one batch.
    assert held_out_loss(mae(), data.subset(torch.arange(9)), 32, seed=3) > 0


def test_without_labels_there_is_no_accuracy() -> None:
    bare = [data.hide_labels(torch.empty(0, dtype=torch.int64)) for data in SETS[:2]]
    figures = ContinualPretraining(mae(), steps=3, engine=ENGINE).fit(bare)
    assert figures.accuracy is None
    assert list(figures.summary()) == ["final loss", "forgetting", "learning"]


def test_the_summary_is_of_both_figures() -> None:
    figures = StreamFigures(((1.0,), (3.0, 2.0)), ((0.75,), (0.5, 1.0)))
    assert figures.summary() == {
        "final loss": 2.5,
        "forgetting": 2.0,
        "learning": 1.5,
        "final accuracy": 0.75,
        "forgetting of accuracy": 0.25,
        "learning of accuracy": 0.875,
    }


def test_what_does_not_fit_is_refused_before_anything_is_trained() -> None:
    with pytest.raises(ConfigError, match="FixMatch learns from labels"):
        ContinualPretraining(FixMatch(build("residual-cnn", DIGITS.spec, width=2), DIGITS.task))
    stream = ContinualPretraining(mae(), steps=[3, 3], engine=ENGINE)
    with pytest.raises(ConfigError, match="steps has 2 numbers for 3 data sets"):
        stream.fit(SETS)
    small = SETS[2].subset(torch.arange(20))
    with pytest.raises(ConfigError, match="batch_size=32 is larger than the 16 samples"):
        ContinualPretraining(mae(), steps=3, engine=ENGINE).fit([*SETS[:2], small])
    with pytest.raises(DataError, match="Give samples like the new ones"):
        stream.fit([SETS[0], load("wine")])
    with pytest.raises(DataError, match="needs data sets"):
        stream.fit([])


def test_extended_it_is_the_longer_run(tmp_path: Path) -> None:
    whole, expected = streamed("infinite", tmp_path / "whole", replay_share=0.25)
    options = {"steps": 10, "engine": ENGINE, "replay_share": 0.25}
    stream = ContinualPretraining(mae(), **options)
    stream.fit(SETS[:1], folder=tmp_path / "parts")
    for data in SETS[1:]:
        assert stream.extend(data) is stream
    assert stream.figures_ == expected
    assert equal(weights(stream.objective_), weights(whole.objective_))
    assert stream.ledger_ == whole.ledger_
    kept = [kept_aside(data, 0)[0].index for data in SETS]
    assert all(torch.equal(stream.ledger_.kept(k), index) for k, index in enumerate(kept))


def test_what_cannot_be_extended_or_forgotten_is_refused_by_name(tmp_path: Path) -> None:
    stream = ContinualPretraining(mae(), steps=10, engine=ENGINE)
    with pytest.raises(ConfigError, match="Call fit first"):
        stream.extend(SETS[0])
    stream.fit(SETS[:1])
    with pytest.raises(ConfigError, match="state to go on from is gone"):
        stream.extend(SETS[1])
    with pytest.raises(ConfigError, match=r"knn.*forgets exactly"):
        stream.forget([0])
    planned = ContinualPretraining(mae(), steps=10, engine=ENGINE, schedule="one-cosine")
    planned.fit(SETS[:1], folder=tmp_path / "one")
    with pytest.raises(ConfigError, match="schedule='one-cosine'"):
        planned.extend(SETS[1])
    listed = ContinualPretraining(mae(), steps=[10], engine=ENGINE)
    listed.fit(SETS[:1], folder=tmp_path / "listed")
    with pytest.raises(ConfigError, match=r"steps=\[10\]"):
        listed.extend(SETS[1])
    going = ContinualPretraining(mae(), steps=10, engine=ENGINE)
    going.fit(SETS[:1], folder=tmp_path / "going")
    with pytest.raises(DataError, match="wine"):
        going.extend(load("wine"))
    assert len(going.figures_.loss) == len(going.ledger_.sessions) == 1
