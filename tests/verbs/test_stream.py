"""A stream as one verb: what it leaves is a run like others, and can be gone on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import tacita
from tacita.continual import Ledger
from tacita.engine.carry import load_carried
from tacita.errors import ConfigError, DataError
from tacita.modalities.load import load
from tacita.stream.pretraining import kept_aside

DIGITS = load("digits")
SETS = [DIGITS.subset(torch.isin(DIGITS.y, torch.tensor([i, i + 1]))) for i in (0, 2, 4)]


def test_the_verb_leaves_a_model_its_state_and_the_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = {"encoder": "vit", "encoder.dim": 12, "encoder.depth": 1, "decoder_dim": 8}
    options = {**small, "steps": 10, "batch_size": 32}
    model, figures = tacita.pretrain_stream(
        "mae", SETS, replay=0.25, out=tmp_path / "stream", **options
    )
    said = capsys.readouterr().out
    assert f"loss {figures.loss[0][0]:.4f}\n" in said
    assert "forgetting" in said
    written = (tmp_path / "stream" / "stream.json").read_text()
    ledger = Ledger.load(tmp_path / "stream" / "ledger.json")
    assert len(ledger) == sum(len(kept_aside(data, 0)[0]) for data in SETS)
    assert f"{figures.summary()['final loss']}" in written
    assert not (tmp_path / "stream" / "work").exists()
    again = tacita.Model.load(tmp_path / "stream")
    assert (again.embed(SETS[0]) == model.embed(SETS[0])).all()
    by = again.learner.data_.normaliser
    assert by is not None
    first = kept_aside(SETS[0], 0)[0].normalised().normaliser
    assert first is not None
    assert torch.equal(by.mean, first.mean)
    # What it kept is gone on from by the ordinary verb.
    state = tmp_path / "stream" / "constant.safetensors"
    assert load_carried(state).carried.step == 24
    more = tacita.pretrain("mae", SETS[0], start=again, out=tmp_path / "more", quiet=True)
    assert more.recipe.pretrain is not None
    assert more.recipe.pretrain.train["steps"] == 10
    assert load_carried(tmp_path / "more" / "constant.safetensors").carried.step == 32


@pytest.mark.parametrize(
    "arguments, words",
    [
        ((SETS,), r"'infinit': unknown; did you mean infinite"),
        (("digits",), "A stream is a list"),
        (([],), "A stream is a list"),
    ],
)
def test_the_verb_refuses_what_it_cannot_do(arguments: Any, words: str) -> None:
    schedule = "infinit" if arguments == (SETS,) else "infinite"
    with pytest.raises((ConfigError, DataError), match=words):
        tacita.pretrain_stream("mae", *arguments, schedule=schedule, quiet=True)
