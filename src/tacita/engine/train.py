"""The only training loop. Methods bring a loss; devices, precision, schedules, resuming are here."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

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
    batch_size: samples a step over all processes, rounded up so that every part is as large; for
        objectives that read both kinds, the labelled ones (no more than there are), with
        `unlabelled_ratio` unlabelled ones each.
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
    check_options(objective, data, steps, batch_size, accumulate, log_every, clip)
    fabric = _fabric(device, precision)
    if data.normaliser is None:
        data = data.normalised()
    fabric.launch()
    with torch.random.fork_rng(devices=_cuda_devices(fabric)):
        torch.manual_seed(seed)
        objective.train()
        objective.start(steps)
        torch_optimizer = build_optimizer(objective, optimizer, learning_rate, weight_decay)
        wrapped, wrapped_optimizer = fabric.setup(_Sealed(objective), torch_optimizer)
        batches = Batches(objective, data, batch_size, accumulate, seed, fabric)
        options = (steps, batch_size, learning_rate, weight_decay, optimizer, schedule, warmup,
                   clip, accumulate, seed, str(precision))  # fmt: skip
        fingerprint = _fingerprint(objective, data, options)
        history = History(steps)
        first = 0
        if resume and checkpoint is not None and checkpoint.exists():
            saved = load_checkpoint(checkpoint, fingerprint, objective, torch_optimizer)
            first, history.rows = saved.step, saved.rows
            # No process may write the next checkpoint while another still reads this one.
            fabric.barrier()
        if fabric.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(fabric.device)

        def save(step: int) -> None:
            if checkpoint is not None and fabric.is_global_zero:
                state = Checkpoint(step, fingerprint, history.rows)
                save_checkpoint(checkpoint, state, objective, torch_optimizer)

        began = saved_at = time.monotonic()
        try:
            for step in range(first, steps):
                # Randomness is a function of (seed, step): resuming needs no generator state.
                _seed(fabric.device, mix(seed, step, fabric.global_rank))
                factor = set_learning_rate(torch_optimizer, schedule, step, steps, warmup)
                wrapped_optimizer.zero_grad()
                losses: list[Losses] = []
                for part in batches.at(step):
                    more = len(losses) + 1 < accumulate
                    with fabric.no_backward_sync(wrapped, enabled=more):
                        losses.append(wrapped(lambda part=part: part)())
                        fabric.backward(losses[-1].total / accumulate)
                fabric.clip_gradients(
                    wrapped, wrapped_optimizer, max_norm=clip, error_if_nonfinite=False
                )
                wrapped_optimizer.step()
                objective.after_step(step)
                if (step + 1) % log_every == 0 or step + 1 == steps:
                    row = {**_row(step + 1, losses, fabric), "rate": learning_rate * factor}
                    history.rows.append(row)
                    now = time.monotonic()
                    for callback in callbacks:
                        callback(Progress(step + 1, steps, row, now - began))
                if checkpoint is not None and time.monotonic() - saved_at > checkpoint_every:
                    _check_finite(step + 1, _means(losses)[0])
                    save(step + 1)
                    saved_at = time.monotonic()
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            raise OutOfMemoryError(
                f"A step with batch_size={batch_size} did not fit into memory.",
                remedy=f"Try batch_size={max(1, batch_size // 2)}, "
                f"or accumulate={2 * accumulate} to keep the batch.",
            ) from error
        if first < steps:
            save(steps)
        objective.finish()
        objective.eval()
        history.seconds = time.monotonic() - began
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
        self.dtype = next(objective.parameters()).dtype
        labelled = data.labelled.nonzero().squeeze(1)
        everything = torch.arange(len(data))
        self.labelled: Stream | None = None
        self.unlabelled: Stream | None = None
        if objective.reads == "unlabelled":
            self.unlabelled = Stream(everything, self._even(batch_size), mix(seed, 1))
        elif objective.reads == "labelled":
            few = self._even(min(batch_size, len(labelled)))
            self.labelled = Stream(labelled, few, mix(seed, 2))
        else:
            # All samples, the labelled ones too, are unlabelled data: as FixMatch does. Where labels
            # are fewer than a batch, the ratio holds to what there is, down to twice the batch.
            few = min(batch_size, len(labelled))
            many = max(few * objective.unlabelled_ratio, 2 * batch_size)
            self.labelled = Stream(labelled, self._even(few), mix(seed, 2))
            self.unlabelled = Stream(everything, self._even(min(many, len(data))), mix(seed, 1))

    def at(self, step: int) -> list[Batch | SemiBatch]:
        """The parts of one step's batch."""
        labelled = [] if self.labelled is None else self._parts(self.labelled.at(step))
        unlabelled = [] if self.unlabelled is None else self._parts(self.unlabelled.at(step))
        parts: list[Batch | SemiBatch]
        if labelled and unlabelled:
            pairs = zip(labelled, unlabelled, strict=True)
            parts = [
                SemiBatch(self._take(self.data, a), self._take(self.hidden, b)) for a, b in pairs
            ]
        elif labelled:
            parts = [self._take(self.data, a) for a in labelled]
        else:
            parts = [self._take(self.hidden, b) for b in unlabelled]
        return [part.to(self.fabric.device) for part in parts]

    def _take(self, data: Dataset, positions: Tensor) -> Batch:
        batch = data.take(positions)
        return batch.with_x(batch.x.to(self.dtype))

    def _even(self, size: int) -> int:
        """The next size that parts and processes share evenly, so that a mean of means is the mean."""
        shares = self.accumulate * self.fabric.world_size
        return math.ceil(size / shares) * shares

    def _parts(self, positions: Tensor) -> list[Tensor]:
        mine = positions[self.fabric.global_rank :: self.fabric.world_size]
        return list(mine.tensor_split(self.accumulate))


def check_options(
    objective: Objective[Any],
    data: Dataset,
    steps: int,
    batch_size: int,
    accumulate: int = 1,
    log_every: int = 1,
    clip: float = math.inf,
) -> None:
    counts = {"steps": steps, "batch_size": batch_size, "accumulate": accumulate}
    for name, count in {**counts, "log_every": log_every}.items():
        if count < 1:
            raise ConfigError(f"{name}={count}: it must be 1 or more.")
    if not clip > 0:
        raise ConfigError(
            f"clip={clip}: the gradient would be nothing.", remedy="Give inf to clip nothing."
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


def _fabric(device: str, precision: Precision) -> Fabric:
    """One process on one device; or, under torchrun, this process's share of several."""
    there = {"auto": True, "cpu": True, "cuda": torch.cuda.is_available(),
             "mps": torch.backends.mps.is_available()}  # fmt: skip
    if not there.get(device, False):
        raise ConfigError(
            f"device={device!r}: {'it is not there' if device in there else 'unknown'}.",
            remedy=f"Here there are: {', '.join(name for name in there if there[name])}.",
        )
    on_cpu = device == "cpu" or (device == "auto" and not (there["cuda"] or there["mps"]))
    if precision == "16-mixed" and on_cpu:
        raise ConfigError(
            "precision='16-mixed' needs a GPU.", remedy="Take bf16-mixed or 32-true on a CPU."
        )
    if not (torch.distributed.is_available() and torch.distributed.is_torchelastic_launched()):
        return Fabric(accelerator=device, devices=1, precision=precision)
    local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
    return Fabric(
        accelerator=device,
        strategy="ddp",
        devices=local,
        num_nodes=world // local,
        precision=precision,
    )


def _means(losses: Sequence[Losses]) -> tuple[dict[str, float], dict[str, float]]:
    """The total with every term, and the metrics, over the parts of a batch."""
    count = len(losses)
    total = {"total": sum(float(part.total.detach()) for part in losses) / count}
    terms = {name: sum(float(part[name].detach()) for part in losses) / count for name in losses[0]}
    metrics = {
        name: sum(float(part.metrics[name].detach()) for part in losses) / count
        for name in losses[0].metrics
    }
    return total | terms, metrics


def _row(step: int, losses: Sequence[Losses], fabric: Fabric) -> dict[str, float]:
    """A line of the history, the same in every process."""
    terms, metrics = _means(losses)
    values = terms | metrics
    if fabric.world_size > 1:
        mine = torch.tensor(list(values.values()), device=fabric.device)
        shared: Any = fabric.all_reduce(mine, reduce_op="mean")
        values = dict(zip(values, shared.tolist(), strict=True))
    _check_finite(step, {name: values[name] for name in terms})
    return {"step": step, **values}


def _check_finite(step: int, terms: Mapping[str, float]) -> None:
    wrong = [name for name, value in terms.items() if not math.isfinite(value)]
    if wrong:
        # The total is wrong because a term is: the term is what to look at.
        name = next((name for name in wrong if name != "total"), "total")
        raise DivergedError(
            f"The loss term {name!r} became {terms[name]} by step {step}.",
            remedy="Try a smaller learning_rate, or precision 32-true.",
        )


def _out_of_memory(error: BaseException) -> bool:
    words = str(error)
    return (
        isinstance(error, torch.OutOfMemoryError | MemoryError)
        or "can't allocate memory" in words
        or "not enough memory" in words
        or "out of memory" in words
    )


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
    # The normaliser's statistics stand for all values of x, which may be too many to read again.
    assert data.normaliser is not None
    for tensor in (data.y, data.index, data.normaliser.mean, data.normaliser.std):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generators that a step draws from.

    `torch.manual_seed` does it for every device that there might be, and while CUDA is not in use it
    notes down where it was called from: several times what a small network's step may cost beyond
    the network itself.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


def _cuda_devices(fabric: Fabric) -> list[int]:
    return [fabric.device.index or 0] if fabric.device.type == "cuda" else []


logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
