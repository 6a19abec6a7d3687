"""The loop: what would go wrong is a run that depends on when it was stopped, on how its batch was
cut, or on what else drew random numbers; and a loss that went bad without anyone being told.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.engine.checkpoint import previous_of, read_tensors
from tacita.engine.history import Progress
from tacita.engine.loggers import JsonLines
from tacita.engine.stopping import Stopping
from tacita.engine.train import check_all_used, train
from tacita.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    DivergedError,
    OutOfMemoryError,
)
from tacita.objective import Losses
from tests.engine.runs import (
    KILLED_STEPS,
    Flat,
    Plain,
    digits_data,
    equal,
    fixmatch,
    killed_run,
    plain,
    shared_run,
    weights,
)

DATA = digits_data()
ROOT = Path(__file__).parents[2]


def trained(objective: Plain | None = None, data: Dataset = DATA, **options: Any) -> Plain:
    objective = objective or plain(data)
    train(objective, data, **{"steps": 12, "batch_size": 16, **options})
    return objective


# Killed and resumed


@pytest.fixture(scope="module")
def processes() -> multiprocessing.context.ForkServerContext:
    """Processes that start in a moment, forked from one that has imported everything."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.engine.runs"])
    return context


def begun(
    processes: multiprocessing.context.ForkServerContext, folder: Path
) -> multiprocessing.context.ForkServerProcess:
    """A run at the instant where its training begins."""
    (folder / "began").unlink(missing_ok=True)
    process = processes.Process(target=killed_run, args=(folder,))
    process.start()
    while process.is_alive() and not (folder / "began").exists():
        time.sleep(0.002)
    return process


@pytest.fixture(scope="module")
def uninterrupted(
    processes: multiprocessing.context.ForkServerContext, tmp_path_factory: pytest.TempPathFactory
) -> tuple[bytes, float]:
    """The final weights of a run that nothing stopped, and how long it took."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = begun(processes, folder)
    began = time.monotonic()
    process.join()
    assert process.exitcode == 0
    return (folder / "final.safetensors").read_bytes(), time.monotonic() - began


@pytest.mark.parametrize(
    ("number", "kills"),
    [
        (signal.SIGKILL, 3),
        (signal.SIGTERM, 1),
        (signal.SIGINT, 1),
        pytest.param(signal.SIGKILL, 20, marks=pytest.mark.slow),
    ],
)
def test_a_run_killed_at_random_instants_ends_with_the_same_weights(
    number: signal.Signals,
    kills: int,
    processes: multiprocessing.context.ForkServerContext,
    uninterrupted: tuple[bytes, float],
    tmp_path: Path,
) -> None:
    final, seconds = uninterrupted
    draw = random.Random(kills + number)
    for attempt in range(10):  # On a busy machine the kills may all come too early or too late.
        folder = tmp_path / str(attempt)
        folder.mkdir()
        spans = [draw.uniform(0.0, 1.5 * seconds / (kills + 1)) for _ in range(kills)]
        reached = [step for span in spans if (step := killed(processes, folder, span, number))]
        assert reached == sorted(reached)
        if any(step < KILLED_STEPS for step in reached):
            break
    else:
        pytest.fail("no kill fell into a run")
    process = begun(processes, folder)
    process.join()
    assert process.exitcode == 0
    assert (folder / "final.safetensors").read_bytes() == final


def killed(
    processes: multiprocessing.context.ForkServerContext,
    folder: Path,
    after: float,
    number: signal.Signals,
) -> int:
    """The step that a run had reached on disk when it was killed so many seconds in; 0 for none."""
    process = begun(processes, folder)
    process.join(timeout=after)
    if process.is_alive():
        os.kill(process.pid or 0, number)
    process.join()
    if not (folder / "run.safetensors").exists():
        return 0
    tensors, metadata = read_tensors(folder / "run.safetensors", remedy="")
    assert tensors
    return int(metadata["step"])


@settings(deadline=None, max_examples=6)
@given(stop=st.integers(1, 11), log_every=st.integers(1, 5))
def test_a_run_stopped_at_any_step_goes_on_as_if_it_had_not(
    stop: int, log_every: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.safetensors"
    options: dict[str, Any] = {
        "steps": 12,
        "batch_size": 8,
        "log_every": log_every,
        "checkpoint_every": 0.0,
    }
    whole = fixmatch(DATA)
    expected = train(whole, DATA, **options)

    class Halting(type(fixmatch(DATA))):  # type: ignore[misc]
        def after_step(self, step: int) -> None:
            super().after_step(step)
            if step == stop:
                raise Stopped

    halted = fixmatch(DATA)
    halted.__class__ = Halting
    halted.__class__.__name__ = "FixMatch"
    with pytest.raises(Stopped):
        train(halted, DATA, checkpoint=path, **options)
    resumed = fixmatch(DATA)
    history = train(resumed, DATA, checkpoint=path, resume=True, **options)
    assert equal(weights(resumed), weights(whole))
    assert history.rows == expected.rows


class Stopped(Exception):
    pass


def stopped_after(step: int, path: Path, **options: Any) -> None:
    """A run that ends at a step, without a word."""

    def stop(progress: Progress) -> None:
        if progress.step == step:
            raise Stopped

    with pytest.raises(Stopped):
        trained(checkpoint=path, checkpoint_every=0.0, log_every=1, callbacks=[stop], **options)


@pytest.mark.parametrize("damage", ["cut", "flipped", "missing"])
def test_a_damaged_checkpoint_falls_back_on_the_one_before(
    damage: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "run.safetensors"
    stopped_after(7, path)
    previous = previous_of(path)
    steps = [int(read_tensors(file, remedy="")[1]["step"]) for file in (path, previous)]
    assert steps == [6, 5]
    whole = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(whole[:-9] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    rows: list[Progress] = []
    resumed = trained(
        checkpoint=path, checkpoint_every=600.0, resume=True, log_every=1, callbacks=[rows.append]
    )
    assert rows[0].step == 6
    assert equal(weights(resumed), weights(trained()))
    warned = [record.message for record in caplog.records if record.name == "tacita"]
    assert len(warned) == (damage != "missing")
    assert all("run.safetensors" in text and "at step 5" in text for text in warned)
    # The damaged one is not kept in place of the whole one.
    assert [int(read_tensors(f, remedy="")[1]["step"]) for f in (path, previous)] == [12, 5]


def test_two_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    stopped_after(7, path)
    path.write_bytes(b"")
    previous_of(path).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"run\.safetensors: not a readable"):
        trained(checkpoint=path, resume=True)


def test_another_runs_checkpoint_does_not_fall_back(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    stopped_after(7, path)
    other = tmp_path / "other.safetensors"
    trained(checkpoint=other, seed=1)
    path.write_bytes(other.read_bytes())
    with pytest.raises(CheckpointError, match="another run"):
        trained(checkpoint=path, resume=True)


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    first = trained(checkpoint=path)
    seen: list[Progress] = []
    again = trained(plain(DATA, seed=5), checkpoint=path, resume=True, callbacks=[seen.append])
    assert equal(weights(first), weights(again))
    assert seen == []


def test_without_resume_a_checkpoint_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    trained(checkpoint=path, learning_rate=0.1)
    assert equal(weights(trained(checkpoint=path)), weights(trained()))


@pytest.mark.parametrize(
    "change",
    [
        {"learning_rate": 0.5},
        {"seed": 1},
        {"steps": 13},
        {"data": digits_data(labelled=30)},
        {"data": digits_data(samples=150)},
        {"objective": plain(DATA, scale=2.0)},
        {"schedule": "linear"},
        {"stopping": Stopping(float)},
        {"objective": Plain(Flat(DATA.spec, dim=5))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_checkpoint_of_another_run_is_refused(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    trained(checkpoint=path)
    written = path.read_bytes()
    with pytest.raises(CheckpointError, match="another run"):
        trained(**change, checkpoint=path, resume=True)
    assert path.read_bytes() == written


# Seeds


def test_the_seed_alone_decides() -> None:
    torch.manual_seed(1)
    a = fixmatch(DATA)
    train(a, DATA, steps=5, batch_size=8)
    torch.manual_seed(2)
    b = fixmatch(DATA)
    train(b, DATA, steps=5, batch_size=8)
    other = fixmatch(DATA)
    train(other, DATA, steps=5, batch_size=8, seed=1)
    assert equal(weights(a), weights(b))
    assert not equal(weights(a), weights(other))


def test_the_callers_random_numbers_are_left_alone() -> None:
    before, numpys, pythons = torch.get_rng_state(), np.random.get_state()[1], random.getstate()  # noqa: NPY002
    train(fixmatch(DATA), DATA, steps=2, batch_size=8)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpys)  # noqa: NPY002
    assert random.getstate() == pythons


# One step


def test_parts_of_a_batch_add_up_to_the_batch() -> None:
    options: dict[str, Any] = {
        "steps": 12,
        "batch_size": 16,
        "precision": "64-true",
        "log_every": 1,
    }
    one, parts = plain(DATA), plain(DATA)
    whole = train(one, DATA, **options)
    cut = train(parts, DATA, accumulate=2, **options)
    for a, b in zip(whole.rows, cut.rows, strict=True):
        assert b["total"] == pytest.approx(a["total"], rel=1e-12)
    for name, value in one.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, rtol=1e-6, atol=1e-7)
        assert value.dtype == torch.float32


def test_uneven_batches_are_rounded_up_so_that_parts_are_as_large() -> None:
    sizes: list[int] = []

    class Counting(Plain):
        def loss(self, batch: Batch) -> Losses:
            sizes.append(len(batch))
            return super().loss(batch)

    train(Counting(Flat(DATA.spec)), DATA, steps=2, batch_size=15, accumulate=4)
    assert sizes == [4] * 8


def test_a_single_label_can_be_learnt_from_in_parts() -> None:
    data = digits_data(labelled=1)
    history = train(fixmatch(data), data, steps=2, batch_size=8, accumulate=4, log_every=1)
    assert all(np.isfinite(row["total"]) for row in history.rows)


@pytest.mark.parametrize("clip", [0.01, 1e6])
def test_the_gradient_is_clipped_to_its_norm(clip: float) -> None:
    objective = plain(DATA, scale=100.0)
    before = weights(objective)
    reference = plain(DATA, scale=100.0)
    batch = DATA.take(DATA.labelled.nonzero()[:, 0])
    reference.loss(batch).total.backward()  # type: ignore[no-untyped-call]
    norm = float(
        torch.stack([p.grad.norm() for p in reference.parameters() if p.grad is not None]).norm()
    )
    options: dict[str, Any] = {
        "steps": 1,
        "batch_size": 40,
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "weight_decay": 0.0,
        "warmup": 0.0,
        "clip": clip,
    }
    train(objective, DATA, **options)
    moved = torch.stack([(v - before[k]).norm() for k, v in objective.state_dict().items()]).norm()
    # The first step of SGD with Nesterov momentum 0.9 goes 1.9 times the gradient.
    assert float(moved) == pytest.approx(1.9 * 0.01 * min(norm, clip), rel=1e-3)


def test_a_parameters_own_wishes_are_honoured() -> None:
    objective = plain(DATA)
    objective.head.optimizer_hints = {"weight": {"learning_rate": 0.0}}  # type: ignore[union-attr, assignment]
    before = weights(objective)
    trained(objective, weight_decay=0.0)
    after = weights(objective)
    assert torch.equal(after["head.weight"], before["head.weight"])
    assert not torch.equal(after["encoder.linear.weight"], before["encoder.linear.weight"])


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train_and_leave_single_precision(precision: str) -> None:
    objective = fixmatch(DATA)
    history = train(objective, DATA, steps=3, batch_size=8, precision=precision, log_every=1)  # type: ignore[arg-type]
    assert history.rows[0].keys() >= {"supervised", "unlabelled", "total", "confidence", "rate"}
    kept = [v for v in objective.state_dict().values() if v.is_floating_point()]
    assert {value.dtype for value in kept} == {torch.float32}
    assert objective.encoder(DATA.take(torch.arange(4)).x).pooled.dtype == torch.float32


def test_the_loss_falls_and_the_objective_ends_in_evaluation_mode() -> None:
    objective = plain(DATA)
    history = train(objective, DATA, steps=200, batch_size=40, learning_rate=0.03)
    assert history.rows[-1]["total"] < 0.2 * history.rows[0]["total"]
    assert not any(module.training for module in objective.modules())
    assert history.peak_mb > 0
    assert history.seconds > 0


# What is told


def test_rows_come_every_few_steps_and_at_the_end(tmp_path: Path) -> None:
    seen: list[Progress] = []
    file = JsonLines(tmp_path / "log.jsonl")
    history = train(
        plain(DATA), DATA, steps=12, batch_size=16, log_every=5, callbacks=[seen.append, file]
    )
    assert [row["step"] for row in history.rows] == [5, 10, 12]
    assert [progress.row for progress in seen] == history.rows
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 3
    assert history.final == history.rows[-1]


# Time


class Slow(Plain):
    """A step takes a little."""

    def after_step(self, step: int) -> None:
        time.sleep(0.01)


def test_training_ends_after_the_step_that_passes_its_time() -> None:
    history = train(
        Slow(Flat(DATA.spec)), DATA, steps=100_000, batch_size=16, log_every=1000, max_seconds=0.2
    )
    assert history.stopped_at is not None
    assert 1 <= history.stopped_at <= 20
    assert 0.2 <= history.seconds < 2
    assert [row["step"] for row in history.rows] == [history.stopped_at]


def test_a_run_in_time_does_all_its_steps() -> None:
    assert train(plain(DATA), DATA, steps=3, batch_size=16, max_seconds=600).stopped_at is None


def test_time_before_a_kill_counts(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "steps": 100_000,
        "batch_size": 16,
        "checkpoint": tmp_path / "run.safetensors",
        "resume": True,
    }
    first = train(Slow(Flat(DATA.spec)), DATA, max_seconds=0.2, **options)
    assert first.stopped_at is not None
    seen: list[Progress] = []
    again = train(Slow(Flat(DATA.spec)), DATA, max_seconds=0.2, callbacks=[seen.append], **options)
    assert seen == []
    assert again.stopped_at == first.stopped_at
    more = train(Slow(Flat(DATA.spec)), DATA, max_seconds=0.4, callbacks=[seen.append], **options)
    assert more.stopped_at is not None
    assert first.stopped_at < more.stopped_at <= 40
    assert more.seconds >= 0.4
    assert all(progress.seconds >= 0.2 for progress in seen)


class Failing(Plain):
    """Its `bad` term is NaN, or an error is raised, from the sixth step on."""

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__(Flat(DATA.spec))
        self.register_buffer("done", torch.tensor(0))
        self.error = error

    done: torch.Tensor

    def loss(self, batch: Batch) -> Losses:
        good = super().loss(batch)["plain"]
        if self.done < 5:
            return Losses(good=good, bad=0 * good)
        if self.error is not None:
            raise self.error
        return Losses(good=good, bad=good * torch.nan)

    def after_step(self, step: int) -> None:
        self.done += 1


def test_a_loss_that_is_not_finite_is_named_with_its_step() -> None:
    with pytest.raises(DivergedError, match=r"'bad' became nan by step 6") as caught:
        trained(Failing(), log_every=1)
    assert "learning_rate" in caught.value.remedy


def test_a_run_gone_bad_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(DivergedError, match="by step 6"):
        trained(Failing(), log_every=100, checkpoint=path, checkpoint_every=0.0)
    assert read_tensors(path, remedy="")[1]["step"] == "5"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ..."),
        RuntimeError("MPS backend out of memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
    ],
    ids=["cpu", "mps", "cuda", "numpy"],
)
def test_a_step_that_does_not_fit_says_which_batch_to_try(error: Exception) -> None:
    with pytest.raises(OutOfMemoryError, match="batch_size=16 ") as caught:
        trained(Failing(error))
    assert "batch_size=8" in caught.value.remedy
    assert "accumulate=2" in caught.value.remedy


def test_any_other_error_comes_through_as_it_is() -> None:
    error = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError) as caught:
        trained(Failing(error))
    assert caught.value is error


# What is refused, and what is not


class Unlabelled(Plain):
    reads = "unlabelled"

    def loss(self, batch: Batch) -> Losses:
        assert (batch.y == -1).all(), "a label was shown to an objective that reads none"
        return Losses(size=self.encoder(batch).pooled.square().mean())


def test_an_objective_without_labels_is_shown_none() -> None:
    trained(Unlabelled(Flat(DATA.spec)))


def test_a_batch_larger_than_the_data_is_refused_with_one_to_try() -> None:
    with pytest.raises(ConfigError, match="batch_size=500 is larger than the 200 samples") as error:
        trained(Unlabelled(Flat(DATA.spec)), batch_size=500)
    assert "batch_size=100" in error.value.remedy


def test_a_batch_larger_than_the_labels_becomes_the_labels() -> None:
    assert equal(weights(trained(batch_size=500)), weights(trained(batch_size=40)))


def test_data_without_labels_are_refused() -> None:
    with pytest.raises(DataError, match="no sample has a label, and Plain learns from labels"):
        trained(data=digits_data(labelled=0))


@pytest.mark.parametrize(
    "options",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"accumulate": 0},
        {"accumulate": 17},
        {"log_every": 0},
        {"clip": 0.0},
        {"max_seconds": 0.0},
        {"max_seconds": float("nan")},
        {"schedule": "cosin"},
        {"device": "gpu"},
        {"precision": "16-mixed", "device": "cpu"},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_cannot_be_are_refused(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=next(iter(options))):
        trained(**options, checkpoint=tmp_path / "run.safetensors")
    assert list(tmp_path.iterdir()) == []


# Several processes


def test_a_parameter_that_the_loss_does_not_reach_is_named() -> None:
    objective = plain(DATA)
    objective.spare = torch.nn.Linear(2, 2)
    objective.frozen = torch.nn.Linear(2, 2).requires_grad_(False)
    objective.loss(DATA.take(torch.arange(4))).total.backward()  # type: ignore[no-untyped-call]
    with pytest.raises(ConfigError, match=r"depend on spare\.weight, spare\.bias,"):
        check_all_used(objective)
    objective.spare.requires_grad_(False)
    check_all_used(objective)


@pytest.mark.slow
def test_several_processes_refuse_what_the_loss_does_not_reach(tmp_path: Path) -> None:
    finished = together(tmp_path / "shared.safetensors", "spare", check=False)
    assert finished.returncode != 0
    assert "does not depend on spare.weight" in finished.stderr


def together(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
    """A shared run in two processes."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*command, str(ROOT / "tests/engine/runs.py"), *map(str, arguments)],
        check=check,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        timeout=200,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    out = tmp_path / "shared.safetensors"
    together(out)
    shared, _ = read_tensors(out, remedy="")
    history, alone = shared_run()
    totals = torch.tensor([row["total"] for row in history.rows], dtype=torch.float64)
    torch.testing.assert_close(shared.pop("totals"), totals, rtol=1e-5, atol=1e-6)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(shared[name], value, rtol=1e-4, atol=1e-5)


def test_a_head_alone_can_be_trained() -> None:
    objective = plain(DATA)
    objective.encoder.requires_grad_(False)
    before = weights(objective)
    trained(objective)
    changed = {k for k, v in objective.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == {"head.weight", "head.bias"}
