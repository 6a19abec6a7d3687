"""Pretraining goes on with new data: nothing of the first run may change, and nothing of it be lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tacita
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.engine.carry import load_carried
from tacita.engine.history import Progress
from tacita.engine.train import train
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load
from tacita.model.build import training_options
from tacita.model.model import Model
from tacita.pretrain.mae import MAE
from tacita.verbs.folder import STATE

DIGITS = load("digits")
FIRST, SECOND = (DIGITS.subset(torch.arange(i, i + 300)) for i in (0, 300))
SMALL: dict[str, Any] = {"encoder": "vit", "encoder.dim": 12, "encoder.depth": 1, "decoder_dim": 8}


def first_run(folder: Path, **options: Any) -> Model:
    settings = {**SMALL, "schedule": "infinite", "steps": 20, "batch_size": 32, **options}
    return tacita.pretrain("mae", FIRST, out=folder, quiet=True, **settings)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    first_run(folder, decoder_depth=1, schedule_options={"constant": 0.5})
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def weights_of(model: Model) -> dict[str, torch.Tensor]:
    return {
        f"{name}/{key}": value.clone()
        for name, module in model.learner.modules().items()
        for key, value in module.state_dict().items()
    }


def test_a_run_without_an_end_keeps_its_state_beside_its_model(run: Path, tmp_path: Path) -> None:
    carried = load_carried(run / STATE).carried
    assert (carried.step, carried.optimizer) == (17, "adamw")
    assert carried.schedule is not None
    assert (carried.schedule.constant, carried.schedule.anneal_at) == (0.5, None)
    assert not (run / "work").exists()
    first_run(tmp_path / "cosine", schedule="cosine")
    assert not (tmp_path / "cosine" / STATE).exists()


def test_one_command_goes_on_and_leaves_the_first_run_alone(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = files_of(run)
    model = tacita.pretrain(
        "mae", SECOND, start=run, replay=[FIRST, FIRST], replay_share=0.25, out=tmp_path / "second"
    )
    assert f"goes on   {run} at its constant rate" in capsys.readouterr().out
    assert files_of(run) == before
    first = Model.load(run)
    assert model.recipe.pretrain is not None
    assert first.recipe.pretrain is not None
    train = {**first.recipe.pretrain.train, "replay_share": 0.25}
    assert model.recipe.pretrain.train == train
    assert model.recipe.pretrain.options == first.recipe.pretrain.options
    assert model.recipe.encoder == first.recipe.encoder
    ours, theirs = model.learner.data_.normaliser, first.learner.data_.normaliser
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours.mean, theirs.mean)
    # 17 steps of each: the annealed ones, 3 of 20, are of the models only.
    carried = load_carried(tmp_path / "second" / STATE).carried
    assert carried.step == 34
    assert carried.schedule == load_carried(run / STATE).carried.schedule
    third = tacita.pretrain("mae", FIRST, start=model, steps=10, quiet=True)
    assert third.recipe.pretrain is not None
    assert third.recipe.pretrain.train == {**train, "steps": 10}


def test_it_goes_on_from_the_state_and_not_from_the_model(run: Path) -> None:
    model = tacita.pretrain("mae", SECOND, start=run, quiet=True, steps=5)
    first = Model.load(run)
    objective = MAE(build("vit", SECOND.spec, dim=12, depth=1), decoder_dim=8, decoder_depth=1)
    options = training_options(model.recipe, "pretrain")
    train(
        objective, SECOND.normalised(first.learner.data_.normaliser), start=run / STATE, **options
    )
    ours = weights_of(model)
    for name, value in objective.encoder.state_dict().items():
        assert torch.equal(ours[f"encoder/{name}"], value)


@pytest.mark.parametrize(
    "method, options",
    [("mae", {"schedule": "cosine"}), ("barlow-twins", {})],
    ids=["another schedule", "another method"],
)
def test_else_it_starts_anew_from_the_encoder(
    run: Path, method: str, options: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    model = tacita.pretrain(method, SECOND, start=run, steps=2, batch_size=32, **options)
    assert "goes on" not in capsys.readouterr().out
    assert model.recipe.encoder == Model.load(run).recipe.encoder


class Stopped(Exception):
    pass


def test_a_run_that_goes_on_can_be_killed_and_resumed(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = {"start": run, "replay": FIRST, "quiet": True}
    whole = tacita.pretrain("mae", SECOND, out=tmp_path / "whole", **options)

    def stopping(*arguments: Any, **named: Any) -> Any:
        def halt(progress: Progress) -> None:
            if progress.step == 19:
                raise Stopped

        named |= {"callbacks": [halt], "checkpoint_every": 0.0, "log_every": 1}
        return train(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr("tacita.model.build.train", stopping)
        with pytest.raises(Stopped):
            tacita.pretrain("mae", SECOND, out=tmp_path / "killed", **options)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    again = tacita.pretrain("mae", SECOND, out=tmp_path / "killed", resume=True, **options)
    ours, theirs = weights_of(again), weights_of(whole)
    assert all(torch.equal(ours[name], value) for name, value in theirs.items())
    states = [(tmp_path / name / STATE).read_bytes() for name in ("killed", "whole")]
    assert states[0] == states[1]


def test_a_run_is_not_replaced_by_the_one_that_goes_on_from_it(run: Path) -> None:
    before = files_of(run)
    with pytest.raises(ConfigError, match="is the run to go on from"):
        tacita.pretrain("mae", SECOND, start=run, out=run, overwrite=True, quiet=True)
    assert files_of(run) == before


def test_other_options_than_those_it_began_with_are_named(run: Path, tmp_path: Path) -> None:
    options = {"start": run, "quiet": True, "out": tmp_path / "other"}
    with pytest.raises(ConfigError, match=r"learning_rate=0\.5"):
        tacita.pretrain("mae", SECOND, learning_rate=0.5, **options)
    assert not (tmp_path / "other" / "model.safetensors").exists()


def test_earlier_data_of_another_kind_is_refused(run: Path) -> None:
    larger = Dataset.of("images", torch.zeros(3, 1, 9, 9, dtype=torch.uint8), torch.full((3,), -1))
    with pytest.raises(DataError, match="Give samples like the new ones"):
        tacita.pretrain("mae", SECOND, start=run, replay=[FIRST, larger], quiet=True)
