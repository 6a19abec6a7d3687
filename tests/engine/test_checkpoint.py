"""A checkpoint either gives back exactly what was saved, or is refused and changes nothing."""

from __future__ import annotations

import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.engine.checkpoint import (
    Checkpoint,
    digest_of,
    load_checkpoint,
    load_newest,
    previous_of,
    read_tensors,
    remove_checkpoint,
    save_checkpoint,
    write_tensors,
)
from tacita.engine.history import Best
from tacita.engine.optimizer import build_optimizer
from tacita.errors import CheckpointError
from tacita.files import WriteError
from tests.engine.runs import digits_data, equal, plain, weights

DATA = digits_data(samples=20, labelled=20)
STATE = Checkpoint(7, "abc", [{"step": 7, "total": 0.5}])


def stepped(seed: int = 0) -> tuple[torch.nn.Module, torch.optim.Optimizer]:
    """An objective and its optimiser after one step."""
    objective = plain(DATA, seed)
    optimizer = build_optimizer(objective, "adamw", 0.1, 0.01)
    objective.loss(DATA.take(torch.arange(20))).total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return objective, optimizer


def moments(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    return {
        f"{number}/{name}": torch.as_tensor(value).clone()
        for number, state in optimizer.state_dict()["state"].items()
        for name, value in state.items()
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "run.safetensors"
    save_checkpoint(path, STATE, *stepped())
    return path


def test_what_was_saved_comes_back(saved: Path) -> None:
    objective, optimizer = stepped()
    other, its_optimizer = stepped(seed=1)
    assert not equal(weights(other), weights(objective))
    assert load_checkpoint(saved, "abc", other, its_optimizer) == STATE
    assert equal(weights(other), weights(objective))
    assert equal(moments(its_optimizer), moments(optimizer))


def test_moments_lie_in_memory_as_their_parameters_do(tmp_path: Path) -> None:
    module = torch.nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(module, "adamw", 0.1, 0.0)
    module(torch.ones(1, 3, 5, 5)).sum().backward()
    optimizer.step()
    save_checkpoint(tmp_path / "a", STATE, module, optimizer)
    load_checkpoint(tmp_path / "a", "abc", module, optimizer)
    moment = optimizer.state[module.weight]["exp_avg"]
    assert moment.stride() == module.weight.stride()


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_flipped_bit_is_refused_and_changes_nothing(saved: Path, data: Any) -> None:
    whole = saved.read_bytes()
    damaged = bytearray(whole)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    path = saved.with_name("flipped.safetensors")
    path.write_bytes(damaged)
    objective, optimizer = stepped(seed=1)
    before = weights(objective), moments(optimizer)
    with pytest.raises(CheckpointError, match="flipped"):
        load_checkpoint(path, "abc", objective, optimizer)
    assert equal(weights(objective), before[0])
    assert equal(moments(optimizer), before[1])


@settings(deadline=None, max_examples=30)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_short_is_refused(saved: Path, share: float) -> None:
    whole = saved.read_bytes()
    path = saved.with_name("cut.safetensors")
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match="cut"):
        load_checkpoint(path, "abc", *stepped())


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95\x1f\x00\x00\x00cos\nsystem\n(S'touch pwned'\ntR.",
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 4) + b"null",
        struct.pack("<Q", 70)
        + json.dumps({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 4]}})
        .ljust(70)
        .encode()
        + b"0000",
    ],
    ids=["pickle", "huge header", "empty", "null", "huge shape"],
)
def test_what_is_no_checkpoint_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        load_checkpoint(path, "abc", *stepped())
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="none"):
        load_checkpoint(tmp_path / "none.safetensors", "abc", *stepped())


@pytest.mark.parametrize("change", ["extra", "missing", "shape", "dtype", "nan", "moment", "best"])
def test_tensors_that_are_not_the_objectives_are_refused(
    change: str, saved: Path, tmp_path: Path
) -> None:
    tensors, metadata = read_tensors(saved, remedy="")
    name = "objective/encoder.linear.bias"
    if change == "extra":
        tensors["objective/more"] = torch.zeros(1)
    elif change == "missing":
        del tensors[name]
    elif change == "best":
        tensors[name.replace("objective/", "best/")] = tensors[name].clone()
    elif change == "moment":
        tensors["optimizer/99/exp_avg"] = torch.zeros(1)
    else:
        other = {
            "shape": torch.zeros(9),
            "dtype": tensors[name].double(),
            "nan": torch.full((4,), torch.nan),
        }
        tensors[name] = other[change]
    # Someone made the file so: its digest is right.
    del metadata["digest"]
    metadata["digest"] = digest_of(tensors, metadata)
    path = tmp_path / "bad.safetensors"
    write_tensors(path, tensors, metadata)
    with pytest.raises(CheckpointError, match=r"bad.*(encoder|more|99)"):
        load_checkpoint(path, "abc", *stepped())


def test_a_full_disk_is_a_write_error_and_keeps_the_old_file(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    path = tmp_path / "run.safetensors"
    write_tensors(path, {"a": torch.ones(3)}, {})
    old = path.read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("No space left on device (os error 28)")

    monkeypatch.setattr("tacita.engine.checkpoint.save_file", full)
    with pytest.raises(WriteError, match="No space left"):
        save_checkpoint(path, STATE, *stepped())
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_the_one_before_is_kept_and_both_are_removed(tmp_path: Path) -> None:
    path, other = tmp_path / "run.safetensors", tmp_path / "run.2.safetensors"
    before = tmp_path / "run.previous.safetensors"
    assert previous_of(path) == before
    for file in (path, other):
        save_checkpoint(file, STATE, *stepped())
    old = path.read_bytes()
    assert not before.exists()
    save_checkpoint(path, replace(STATE, step=8), *stepped())
    assert before.read_bytes() == old
    assert load_checkpoint(path, "abc", *stepped()).step == 8
    save_checkpoint(path, replace(STATE, step=9), *stepped())
    assert load_checkpoint(before, "abc", *stepped()).step == 8
    remove_checkpoint(path)
    assert list(tmp_path.iterdir()) == [other]
    remove_checkpoint(path)


@pytest.mark.parametrize("links", [True, False], ids=["hard links", "no hard links"])
@pytest.mark.parametrize("at", ["unlink", "hardlink_to", "replace"])
def test_at_every_instant_there_is_a_whole_checkpoint(
    at: str, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.safetensors"
    for step in (7, 8):
        save_checkpoint(path, replace(STATE, step=step), *stepped())
    saw: list[int] = []

    def watched(name: str) -> None:
        real = getattr(Path, name)

        def call(self: Path, *arguments: Any, **named: Any) -> Any:
            if name == "hardlink_to" and not links:
                raise OSError("no hard links here")
            result = real(self, *arguments, **named)
            if name == at:
                found = load_newest(path, "abc", *stepped())
                assert found is not None
                saw.append(found[0].step)
            return result

        monkeypatch.setattr(Path, name, call)

    for name in {"hardlink_to", at}:
        watched(name)
    save_checkpoint(path, replace(STATE, step=9), *stepped())
    assert set(saw) <= {8, 9}
    assert saw or (at == "hardlink_to" and not links)


def test_what_a_killed_process_left_goes_with_the_next_save(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    left = tmp_path / ".run.safetensors.ab_c12de"
    others = [tmp_path / ".run.safetensors.x.ab_c12de", tmp_path / ".xrun.safetensors.abcdefgh"]
    for file in (left, *others):
        file.write_bytes(b"half")
    save_checkpoint(path, STATE, *stepped())
    assert set(tmp_path.iterdir()) == {path, *others}


def test_time_and_the_best_weights_come_back(tmp_path: Path) -> None:
    objective, optimizer = stepped()
    best = weights(stepped(seed=3)[0])
    state = replace(STATE, seconds=1.25, best=Best(5, 0.1), best_weights=best)
    save_checkpoint(tmp_path / "a", state, objective, optimizer)
    found = load_checkpoint(tmp_path / "a", "abc", objective, optimizer)
    assert found == state
    assert equal(dict(found.best_weights), best)
