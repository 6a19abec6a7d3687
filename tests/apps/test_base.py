"""What an application has learnt survives a file, and a file of anything else changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tacita.apps.base import App
from tacita.apps.in_context_rl import InContextRL
from tacita.apps.in_context_rl.environments import MemoryLength
from tacita.apps.simcore import SimCore
from tacita.catalog import discover
from tacita.errors import CheckpointError, ConfigError
from tests.engine.runs import equal

POOL = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))


def policy(layer: str | None = "gru") -> InContextRL:
    return InContextRL(layer=layer, d_model=8, depth=1, rollout=8)


def trained() -> InContextRL:
    return policy().fit(environment=MemoryLength(8, length=3), updates=1)


def selected() -> SimCore:
    return SimCore(k=3, budget=9).fit(target=POOL[:10], pool=POOL[10:])


def test_every_app_of_the_catalog_keeps_the_contract() -> None:
    stream = discover.get("infinite-lr")
    apps = [card for card in discover.cards().values() if card.family == "app"]
    for card in apps:
        # A stream of data sets trains an objective: it has its own contract, `Continual`.
        assert card == stream or issubclass(discover.load_class(card.slug), App), card.slug


def test_a_policy_that_was_saved_acts_the_same(tmp_path: Path) -> None:
    agent, path = trained(), tmp_path / "policy.safetensors"
    agent.save(path)
    again = policy().load(path)
    assert equal(again.modules()["policy"].state_dict(), agent.modules()["policy"].state_dict())
    task = {"count": 20, "length": 3, "seed": 5}
    assert torch.equal(again.predict(MemoryLength(**task)), agent.predict(MemoryLength(**task)))
    assert agent.figures()["steps"] == 64


def test_a_target_that_was_saved_selects_the_same(tmp_path: Path) -> None:
    simcore, path = selected(), tmp_path / "target.safetensors"
    simcore.save(path)
    again = SimCore(k=3).load(path)
    # The budget is an option; by default it is fifty for each sample of the target, who are counted.
    assert len(again.predict(POOL[10:]).indices) == 50
    assert again.prototypes_.count == 10
    first = SimCore(k=3, budget=9).load(path).predict(POOL[10:])
    assert first.indices.tolist() == simcore.selection_.indices.tolist()
    assert simcore.figures()["selected"] == 9


def test_a_file_of_another_app_or_other_options_changes_nothing(tmp_path: Path) -> None:
    mine, other = tmp_path / "mine.safetensors", tmp_path / "other.safetensors"
    agent, simcore = trained(), selected()
    agent.save(mine)
    simcore.save(other)
    for app, path in ((policy(), other), (SimCore(), mine), (policy("s5"), mine), (agent, other)):
        before = dict(vars(app))
        with pytest.raises(CheckpointError, match=path.name):
            app.load(path)
        assert vars(app) == before


@pytest.mark.parametrize("position", [0, 40, -1])
def test_a_damaged_file_is_refused(position: int, tmp_path: Path) -> None:
    path = tmp_path / "policy.safetensors"
    trained().save(path)
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"policy\.safetensors"):
        policy().load(path)


def test_before_fit_there_is_nothing_to_say_or_save() -> None:
    for app in (policy(), SimCore()):
        assert app.modules() == {}
        with pytest.raises(ConfigError, match="Call fit first"):
            app.figures()
    with pytest.raises(ConfigError, match="no policy yet"):
        policy().predict(MemoryLength(4))
    with pytest.raises(ConfigError, match="no target yet"):
        SimCore().predict(POOL)
