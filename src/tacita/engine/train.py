"""The only training loop. Methods bring a loss; devices, precision, schedules, resuming are here."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor

from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.engine.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from tacita.engine.history import Callback, History, Progress, peak_memory_mb
from tacita.engine.optimizer import Schedule, build_optimizer, set_learning_rate
from tacita.engine.streams import Stream, mix
from tacita.errors import ConfigError, DataError, OutOfMemoryError, TacitaError
from tacita.objective import Losses, Objective

Precision = Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]


class DivergedError(TacitaError, ArithmeticError):
    """The loss became NaN or infinite: names the step and the term."""


def train(
    objective: Objective[Any],
    data: Dataset,
    *,
    steps: int = 1000,
    batch_size: int = 64,
    learning_rate: float = 1e-3,
    weight_decay: float = 0.01,
    optimizer: Literal["adamw", "sgd"] = "adamw",
    schedule: Schedule = "cosine",
    warmup: float = 0.05,
    clip: float = 5.0,
    accumulate: int = 1,
    seed: int = 0,
    device: str = "auto",
    precision: Precision = "32-true",
    checkpoint: Path | None = None,
    checkpoint_every: float = 30.0,
    resume: bool = False,
    log_every: int = 20,
    callbacks: Sequence[Callback] = (),
) -> History:
    """Train an objective on a data set, in place, and return the history of its losses.

    steps: optimiser steps.
    batch_size: samples a step; for objectives that read both kinds, the labelled ones (no more
        than there are), with `unlabelled_ratio` unlabelled ones each.
    warmup: share of the steps over which the learning rate rises from zero.
    clip: largest norm of the gradient.
    accumulate: how many parts a batch is computed in, to fit a larger batch into memory; methods
        that compare samples within a batch then see only their part.
    device: "auto", "cpu", "cuda", "mps". Under torchrun every process takes its share of a batch.
    checkpoint: a file to write the run's state to, every `checkpoint_every` seconds and at the end.
    resume: go on from that file; the result is bit for bit that of a run never stopped.

    Raises `ConfigError` for options that do not fit the data, `DivergedError` when the loss is not
    finite, `OutOfMemoryError` with the batch size to try, `CheckpointError` when resuming fails.
    """
    _check_options(objective, data, steps, batch_size, accumulate)
    if data.normaliser is None:
        data = data.normalised()
    fabric = Fabric(
        accelerator=device, devices="auto" if _distributed() else 1, precision=precision
    )
    fabric.launch()
    with torch.random.fork_rng(devices=_cuda_devices(fabric)):
        torch.manual_seed(seed)
        objective.train()
        objective.start(steps)
        torch_optimizer = build_optimizer(objective, optimizer, learning_rate, weight_decay)
        wrapped, wrapped_optimizer = fabric.setup(objective, torch_optimizer)
        batches = Batches(objective, data, batch_size, accumulate, seed, fabric)
        options = (steps, batch_size, learning_rate, weight_decay, optimizer, schedule, warmup,
                   clip, accumulate, seed, str(precision))  # fmt: skip
        fingerprint = _fingerprint(objective, data, options)
        history = History(steps)
        first = 0
        if resume and checkpoint is not None and checkpoint.exists():
            saved = load_checkpoint(checkpoint, fingerprint, objective, torch_optimizer)
            first, history.rows = saved.step, saved.rows
        if fabric.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(fabric.device)

        def save(step: int) -> None:
            if checkpoint is not None and fabric.is_global_zero:
                state = Checkpoint(step, fingerprint, history.rows)
                save_checkpoint(checkpoint, state, objective, torch_optimizer)

        began = saved_at = time.monotonic()
        step = first
        try:
            for step in range(first, steps):
                # Randomness is a function of (seed, step): resuming needs no generator state.
                torch.manual_seed(mix(seed, step, fabric.global_rank))
                factor = set_learning_rate(torch_optimizer, schedule, step, steps, warmup)
                wrapped_optimizer.zero_grad()
                for part in batches.at(step):
                    losses: Losses = wrapped(part)
                    fabric.backward(losses.total / accumulate)
                fabric.clip_gradients(
                    wrapped, wrapped_optimizer, max_norm=clip, error_if_nonfinite=False
                )
                wrapped_optimizer.step()
                objective.after_step(step)
                if (step + 1) % log_every == 0 or step + 1 == steps:
                    row = _row(step + 1, losses, learning_rate * factor)
                    history.rows.append(row)
                    now = time.monotonic()
                    for callback in callbacks:
                        callback(Progress(step + 1, steps, row, now - began))
                if checkpoint is not None and time.monotonic() - saved_at > checkpoint_every:
                    save(step + 1)
                    saved_at = time.monotonic()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            raise _explained(error, batch_size) from error
        if first < steps:
            save(steps)
        objective.finish()
        objective.eval()
        history.seconds = time.monotonic() - began
        history.peak_mb = peak_memory_mb(fabric.device)
    objective.to("cpu")
    return history


class Batches:
    """The batches of each step, in parts where gradients are accumulated, on the right device."""

    def __init__(
        self,
        objective: Objective[Any],
        data: Dataset,
        batch_size: int,
        accumulate: int,
        seed: int,
        fabric: Fabric,
    ) -> None:
        self.data = data
        self.hidden = data.hide_labels(torch.empty(0, dtype=torch.int64))
        self.accumulate = accumulate
        self.fabric = fabric
        labelled = data.labelled.nonzero().squeeze(1)
        everything = torch.arange(len(data))
        self.labelled: Stream | None = None
        self.unlabelled: Stream | None = None
        if objective.reads == "unlabelled":
            self.unlabelled = Stream(everything, batch_size, mix(seed, 1))
        elif objective.reads == "labelled":
            self.labelled = Stream(labelled, min(batch_size, len(labelled)), mix(seed, 2))
        else:
            # All samples, the labelled ones too, are unlabelled data: as FixMatch does. Where labels
            # are fewer than a batch, the ratio holds to what there is, down to twice the batch.
            few = min(batch_size, len(labelled))
            many = max(few * objective.unlabelled_ratio, 2 * batch_size)
            self.labelled = Stream(labelled, few, mix(seed, 2))
            self.unlabelled = Stream(everything, min(many, len(data)), mix(seed, 1))

    def at(self, step: int) -> list[Batch | SemiBatch]:
        """The parts of one step's batch."""
        labelled = [] if self.labelled is None else self._parts(self.labelled.at(step))
        unlabelled = [] if self.unlabelled is None else self._parts(self.unlabelled.at(step))
        parts: list[Batch | SemiBatch]
        if labelled and unlabelled:
            pairs = zip(labelled, unlabelled, strict=True)
            parts = [SemiBatch(self.data.take(a), self.hidden.take(b)) for a, b in pairs]
        elif labelled:
            parts = [self.data.take(a) for a in labelled]
        else:
            parts = [self.hidden.take(b) for b in unlabelled]
        return [part.to(self.fabric.device) for part in parts]

    def _parts(self, positions: Tensor) -> list[Tensor]:
        mine = positions[self.fabric.global_rank :: self.fabric.world_size]
        return list(mine.tensor_split(self.accumulate))


def _check_options(
    objective: Objective[Any], data: Dataset, steps: int, batch_size: int, accumulate: int
) -> None:
    if steps < 1 or accumulate < 1 or batch_size < 1:
        raise ConfigError(
            f"steps={steps}, batch_size={batch_size}, accumulate={accumulate}: all must be 1 or more."
        )
    if accumulate > batch_size:
        raise ConfigError(f"accumulate={accumulate} is larger than batch_size={batch_size}.")
    if objective.reads == "unlabelled" and batch_size > len(data):
        raise ConfigError(
            f"batch_size={batch_size} is larger than the {len(data)} samples of {data.source}.",
            remedy=f"Try batch_size={max(1, len(data) // 2)}.",
        )
    if objective.reads != "unlabelled" and not bool(data.labelled.any()):
        raise DataError(
            f"{data.source}: no sample has a label, and {type(objective).__name__} learns from labels.",
            remedy="Give labels, or pretrain with a method that needs none: tacita methods --labels none",
        )


def _row(step: int, losses: Losses, rate: float) -> dict[str, float]:
    values = {name: float(value.detach()) for name, value in losses.items()}
    total = float(losses.total.detach())
    for name, value in {**values, "total": total}.items():
        if value != value or value in (float("inf"), float("-inf")):
            raise DivergedError(
                f"The loss term {name!r} became {value} by step {step}.",
                remedy="Try a smaller learning_rate, or precision 32-true.",
            )
    metrics = {name: float(value.detach()) for name, value in losses.metrics.items()}
    return {"step": step, "total": total, **values, **metrics, "rate": rate}


def _explained(error: RuntimeError, batch_size: int) -> Exception:
    words = str(error)
    if isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in words:
        return OutOfMemoryError(
            f"A step with batch_size={batch_size} did not fit into memory.",
            remedy=f"Try batch_size={max(1, batch_size // 2)}, or accumulate=2 to keep the batch.",
        )
    return error


def _fingerprint(objective: Objective[Any], data: Dataset, options: tuple[Any, ...]) -> str:
    """A short name for "the same run": options, networks and data."""
    shapes = {name: [str(p.dtype), *p.shape] for name, p in objective.state_dict().items()}
    labels = hashlib.sha256(data.y.numpy().tobytes() + data.index.numpy().tobytes()).hexdigest()
    described = json.dumps([type(objective).__name__, shapes, list(options), labels])
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()


def _cuda_devices(fabric: Fabric) -> list[int]:
    return [fabric.device.index or 0] if fabric.device.type == "cuda" else []


logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
