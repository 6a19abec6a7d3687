"""The only training loop. Methods bring a loss; devices, precision, schedules, resuming are here."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from tacita.catalog.cards import slug_of
from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.data.weights import cannot_weigh
from tacita.engine.as_one import as_one
from tacita.engine.batches import Batches, with_past
from tacita.engine.carry import load_carried, main_line, restore_carried, save_carried
from tacita.engine.checkpoint import Checkpoint, load_newest, save_checkpoint
from tacita.engine.devices import cuda_devices, make_fabric, out_of_memory, seed_step
from tacita.engine.history import Callback, History, Progress, peak_memory_mb
from tacita.engine.optimizer import build_optimizer, scale_learning_rate
from tacita.engine.passes import mix
from tacita.engine.precision import Precision
from tacita.engine.rows import check_finite, make_row, means
from tacita.engine.schedules import Schedule
from tacita.engine.stopping import Stopping, Watch
from tacita.errors import ConfigError, DataError, OutOfMemoryError
from tacita.objective import Losses, Objective
from tacita.parts.following import followers


def train(
    objective: Objective[Any],
    data: Dataset,
    *,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    optimizer: Literal["adamw", "sgd"] = "adamw",
    schedule: Schedule | Callable[[int], float] = "cosine",
    warmup: float = 0.05,
    schedule_options: Mapping[str, float | str] | None = None,
    clip: float = 5.0,
    accumulate: int = 1,
    max_seconds: float | None = None,
    stopping: Stopping | None = None,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "32-true",
    checkpoint: Path | None = None,
    checkpoint_every: float = 30.0,
    resume: bool = False,
    start: Path | None = None,
    keep: Path | None = None,
    replay: Dataset | None = None,
    replay_share: float = 0.1,
    log_every: int = 20,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train an objective on a data set, in place, and return the history of its losses.

    steps: optimiser steps.
    batch_size: samples a step over all processes, rounded up so that every part is as large; for
        objectives that read both kinds, the labelled ones (no more than there are), with
        `unlabelled_ratio` unlabelled ones each.
    schedule: of the learning rate after warm-up: falling to zero along a cosine or a line, constant, or
        infinite, for data that come one set after another (`tacita.engine.schedules`); in Python also
        a function from the optimiser's step to a share of the rate.
    warmup: share of the steps over which the learning rate rises from zero.
    schedule_options: of the infinite schedule: `cooldown`, `constant`, `shape`, `anneal`, `final`.
    clip: largest norm of the gradient.
    accumulate: how many parts a batch is computed in, to fit a larger batch into memory; methods
        that compare samples within a batch then see only their part.
    max_seconds: training ends after the step that passes it; in a resumed run, what was spent up to
        its checkpoint counts.
    stopping: keeps the weights that did best by a score, and ends training that brings none better.
    device: "auto", "cpu", "cuda", "mps". Under torchrun every process takes its share of a batch, and
        all of them learn what one would (docs/many-processes.md).
    checkpoint: a file to write the run's state to, every `checkpoint_every` seconds and at the end.
    resume: go on from that file; the result is bit for bit that of a run never stopped. Where the
        file is damaged, the one before it is used, with a warning.
    start: what another run kept, to go on from with new data: networks, the optimiser's moments and the
        infinite schedule, whose constant phase goes on; any other schedule starts anew.
    keep: a file to keep that in: before the anneal of the infinite schedule, else at the end.
    replay: earlier samples, of which every batch of an objective without labels has some.
    replay_share: their share of a batch.

    Weights of samples count in the loss of objectives that learn from labels and can weigh them; all
    others refuse them, and those without labels leave them aside.

    Raises `ConfigError` for options that do not fit the data, `DivergedError` when the loss is not
    finite, `OutOfMemoryError` with the batch size to try, `CheckpointError` when resuming fails.
    """
    data = data.learnable().evened()
    check_options(objective, data, steps, batch_size, accumulate, log_every, clip, max_seconds)
    kept = None if start is None else load_carried(start)
    line = main_line(
        kept, schedule, steps, warmup, schedule_options,
        optimizer=optimizer, learning_rate=learning_rate,
    )  # fmt: skip
    done = line.begin.step
    fabric = make_fabric(device, precision)
    if data.normaliser is None:
        data = data.normalised()
    past = 0 if replay is None else len(replay)
    if replay is not None:
        data = with_past(data, replay)
    fabric.launch()
    with torch.random.fork_rng(devices=cuda_devices(fabric)):
        torch.manual_seed(seed)
        objective.train()
        objective.prepare(data)
        objective.start(done + steps)
        following = followers(objective)
        for each in following:
            each.start(done + steps)
        torch_optimizer = build_optimizer(objective, optimizer, learning_rate, weight_decay)
        wrapped, wrapped_optimizer = fabric.setup(_Sealed(objective), torch_optimizer)
        batches = Batches(
            objective, data, batch_size, past=past, replay_share=replay_share,
            accumulate=accumulate, seed=seed, device=fabric.device,
            rank=fabric.global_rank, processes=fabric.world_size,
        )  # fmt: skip
        groups = [
            (g["base"], g["weight_decay"], len(g["params"])) for g in torch_optimizer.param_groups
        ]
        origin = "" if kept is None else kept.digest
        options = (steps, batch_size, learning_rate, weight_decay, optimizer, _name_of(line.rates), origin,
                   past, replay_share, clip, accumulate, seed, str(precision), str(stopping),
                   groups)  # fmt: skip
        fingerprint = _fingerprint(objective, data, options)
        history = History(steps)
        watch = Watch(stopping, fabric)
        first = 0
        if kept is not None:
            restore_carried(kept, objective, torch_optimizer)
        if resume and checkpoint is not None:
            found = load_newest(checkpoint, fingerprint, objective, torch_optimizer)
            # No process may write the next checkpoint while another still reads this one.
            fabric.barrier()
            if found is not None:
                saved, source = found
                first, history.rows, history.seconds = saved.step, saved.rows, saved.seconds
                watch.best, watch.weights = saved.best, dict(saved.best_weights)
                if source != checkpoint and fabric.is_global_zero:
                    source.replace(checkpoint)
        if fabric.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(fabric.device)
        # As if this process had begun the run.
        began = time.monotonic() - history.seconds
        saved_at = time.monotonic()

        def spent() -> float:
            return time.monotonic() - began

        def out_of_time() -> bool:
            # The clocks of processes differ, but they must stop together.
            return max_seconds is not None and fabric.broadcast(spent() >= max_seconds)

        def save(step: int) -> None:
            if checkpoint is not None and fabric.is_global_zero:
                state = Checkpoint(
                    step, fingerprint, history.rows, spent(), watch.best, watch.weights
                )
                save_checkpoint(checkpoint, state, objective, torch_optimizer)

        def keep_state(step: int) -> None:
            if keep is None:
                return
            if fabric.is_global_zero:
                end = replace(line.begin, step=done + step)
                save_carried(keep, end, objective, torch_optimizer)
            # No process may go on from a file that is still being written.
            fabric.barrier()

        step = first
        last = step == steps or watch.exhausted(step) or out_of_time()
        try:
            while not last:
                if step == line.fork:
                    keep_state(step)
                # Over all data sets, so that going on with the same data is one longer run.
                clock = done + step
                # Randomness is a function of (seed, step): resuming needs no generator state.
                seed_step(fabric.device, mix(seed, clock, fabric.global_rank))
                factor = line.rates(clock)
                scale_learning_rate(torch_optimizer, factor)
                wrapped_optimizer.zero_grad()
                losses: list[Losses] = []
                with as_one(mix(seed, clock, 0)):
                    for part in batches.at(clock):
                        more = len(losses) + 1 < accumulate
                        with fabric.no_backward_sync(wrapped, enabled=more):
                            losses.append(wrapped(lambda part=part: part)())
                            fabric.backward(losses[-1].total / accumulate)
                if step == first and fabric.world_size > 1:
                    check_all_used(objective)
                fabric.clip_gradients(
                    wrapped, wrapped_optimizer, max_norm=clip, error_if_nonfinite=False
                )
                wrapped_optimizer.step()
                with as_one():
                    for each in following:
                        each.after_step(clock)
                    objective.after_step(clock)
                step += 1
                last = step == steps or out_of_time()
                score = watch.look(objective, step, last=last)
                last = last or watch.exhausted(step)
                if step % log_every == 0 or score or last:
                    row = {
                        **make_row(step, losses, fabric),
                        **score,
                        "rate": learning_rate * factor,
                    }
                    history.rows.append(row)
                    if fabric.is_global_zero:
                        for callback in callbacks:
                            callback(Progress(step, steps, row, spent()))
                if checkpoint is not None and time.monotonic() - saved_at > checkpoint_every:
                    check_finite(step, means(losses)[0])
                    save(step)
                    saved_at = time.monotonic()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"A step with batch_size={batch_size} did not fit into memory.",
                remedy=f"Try batch_size={max(1, batch_size // 2)}, "
                f"or accumulate={2 * accumulate} to keep the batch.",
            ) from error
        if step <= line.fork:
            keep_state(step)
        if first < step:
            save(step)
        watch.restore(objective)
        objective.finish()
        objective.eval()
        history.seconds = spent()
        history.stopped_at = step if step < steps else None
        history.best = watch.best
        history.peak_mb = peak_memory_mb(fabric.device)
    # Double precision is for training only: samples to be predicted come as float32.
    objective.to("cpu", torch.float32)
    return history


class _Sealed(nn.Module):
    """The objective as Fabric wants it: a batch comes in, and its losses go out, behind a call.

    Fabric would take bare ones apart to convert every tensor in them, masks and targets too.
    """

    def __init__(self, objective: Objective[Any]) -> None:
        super().__init__()
        self.objective = objective

    def forward(self, batch: Callable[[], Batch | SemiBatch]) -> Callable[[], Losses]:
        losses: Losses = self.objective(batch())
        return lambda: losses


def check_options(
    objective: Objective[Any],
    data: Dataset,
    steps: int,
    batch_size: int,
    accumulate: int = 1,
    log_every: int = 1,
    clip: float = math.inf,
    max_seconds: float | None = None,
) -> None:
    """Raise `ConfigError` or `DataError` where options of `train` cannot be, or not for these data."""
    counts = {"steps": steps, "batch_size": batch_size, "accumulate": accumulate}
    for name, count in {**counts, "log_every": log_every}.items():
        if count < 1:
            raise ConfigError(f"{name}={count}: it must be 1 or more.")
    if not clip > 0:
        raise ConfigError(
            f"clip={clip}: the gradient would be nothing.", remedy="Give inf to clip nothing."
        )
    if max_seconds is not None and not max_seconds > 0:
        raise ConfigError(f"max_seconds={max_seconds}: it must be more than 0.")
    if accumulate > batch_size:
        raise ConfigError(f"accumulate={accumulate} is larger than batch_size={batch_size}.")
    if objective.reads == "unlabelled" and batch_size > len(data):
        raise ConfigError(
            f"batch_size={batch_size} is larger than the {len(data)} samples of {data.source}.",
            remedy=f"Try batch_size={max(1, len(data) // 2)}.",
        )
    if (
        objective.reads != "unlabelled"
        and not objective.weighs
        and data.evened().weights is not None
    ):
        raise cannot_weigh(slug_of(type(objective)), data.source)
    if objective.reads != "unlabelled" and not bool(data.labelled.any()):
        raise DataError(
            f"{data.source}: no sample has a label, and {type(objective).__name__} learns from labels.",
            remedy="Give labels, or pretrain with a method that needs none: tacita methods --labels none",
        )


def check_all_used(objective: nn.Module) -> None:
    """Refuse parameters that the loss does not reach, for which several processes would wait forever.

    Raises `ConfigError` with their names. (Looking for them anew in every step would cost time.)
    """
    unused = [n for n, p in objective.named_parameters() if p.requires_grad and p.grad is None]
    if unused:
        raise ConfigError(
            f"{type(objective).__name__}: the loss does not depend on {', '.join(unused[:3])}"
            f"{f' and {len(unused) - 3} more' if len(unused) > 3 else ''}, "
            "so several processes cannot train it together.",
            remedy="Freeze them with requires_grad_(False), or train in one process.",
        )


def _name_of(schedule: Callable[[int], float]) -> str:
    """What a schedule is called in every process: a function's own text holds its address."""
    return getattr(schedule, "__qualname__", None) or str(schedule)


def _fingerprint(objective: Objective[Any], data: Dataset, options: tuple[Any, ...]) -> str:
    """A short name for "the same run": options, networks, the method's settings, and data."""
    shapes = {name: [str(p.dtype), *p.shape] for name, p in objective.state_dict().items()}
    settings = {
        f"{name}.{key}": value
        for name, module in objective.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, bool | int | float | str) and key != "training"
    }
    digest = hashlib.sha256(
        json.dumps([type(objective).__name__, shapes, settings, list(options)]).encode()
    )
    # The normaliser's statistics, where it has any, stand for all values of x, which may be many.
    assert data.normaliser is not None
    statistics = list(data.normaliser.state_dict().values()) or [data.x]
    weights = [] if data.weights is None else [data.weights]
    for tensor in (data.y, data.index, *weights, *statistics):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
