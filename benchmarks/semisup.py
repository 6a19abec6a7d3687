"""A step of each semi-supervised objective beside its bare networks, and FixMatch beside semilearn's.

"Bare" is what the networks did in one step, recorded and repeated without all else: the same passes
over the same inputs with and without gradients, and a sum in place of the loss. No side pays for views.

Beside semilearn both sides train the same network on the same images with batches of one size and
averaged weights, by stochastic gradient descent. Views are a part of it: semilearn makes them an image at
a time, in the process that trains or in others, ours are made of a whole batch. A second comparison is of
steps on views made beforehand. Where semilearn is not installed it is left out, and said so.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.semilearn_fixmatch import SemilearnFixMatch, first_batches, semilearn
from benchmarks.timing import Result, side_by_side
from tacita.catalog import discover
from tacita.data.batch import SemiBatch
from tacita.data.dataset import Dataset
from tacita.data.splits import draw_labels
from tacita.encoder import Encoder, Encoding
from tacita.encoders import build
from tacita.engine.history import Progress
from tacita.engine.train import train
from tacita.modalities.load import load
from tacita.objective import Objective
from tacita.semisup.fixmatch import FixMatch
from tacita.tasks import Classification

LABELLED, UNLABELLED = 32, 224
CLASSES = 10
STEPS = 30
"""Of a training beside semilearn; the first ten, in which its processes start, do not count."""

Step = Callable[[], object]


def run() -> list[Result]:
    """Time of a step; beside semilearn, images a second are in the same ratio."""
    results = []
    for card in discover.search(family="semisup"):
        cls = discover.load_class(card.slug)
        if issubclass(cls, Objective):
            what = f"a step of {card.slug}, {LABELLED} + {UNLABELLED} images 3x32x32"
            ours, bare = side_by_side(*steps_of(cls), repeats=7)
            results.append(Result(what, "its bare networks", ours, bare, "0.95"))
    return results + beside_semilearn()


def steps_of(cls: type[Objective[Any]]) -> tuple[Step, Step]:
    """A whole step with what follows it, and its networks alone."""
    torch.manual_seed(0)
    count = LABELLED + UNLABELLED
    pixels = torch.randint(256, (count, 3, 32, 32), dtype=torch.uint8)
    task = Classification(tuple(str(code) for code in range(CLASSES)))
    data = Dataset.of("images", pixels, torch.arange(count) % CLASSES, task).normalised()
    batch = SemiBatch(data.take(torch.arange(LABELLED)), data.take(torch.arange(LABELLED, count)))
    known = inspect.signature(cls).parameters
    same = {name: nn.Identity() for name in ("views", "weak", "strong") if name in known}
    objective: Objective[Any] = cls(build("residual-cnn", data.spec), task, **same)  # type: ignore[call-arg]
    objective.train()
    objective.prepare(data)
    objective.start(1000)

    def ours() -> None:
        objective.zero_grad()
        objective(batch).total.backward()
        objective.after_step(1)

    return ours, partial(_repeat, objective, recorded(objective, batch))


Call = tuple[nn.Module, tuple[Any, ...], dict[str, Any], bool]
"""A network, what it was given, and whether gradients were asked for."""


def recorded(objective: Objective[Any], batch: SemiBatch) -> list[Call]:
    """The calls of encoders and heads in a step, teachers' too; not of what is inside of them."""
    calls: list[Call] = []
    inside = 0

    def before(network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal inside
        if not inside:
            calls.append((network, _detached(args), kwargs, torch.is_grad_enabled()))
        inside += 1

    def after(*_: Any) -> None:
        nonlocal inside
        inside -= 1

    hooks = []
    for network in objective.modules():
        if isinstance(network, Encoder | nn.Linear | nn.Sequential):
            hooks.append(network.register_forward_pre_hook(before, with_kwargs=True))
            hooks.append(network.register_forward_hook(after))
    objective(batch)
    for hook in hooks:
        hook.remove()
    return calls


def _detached(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(value.detach() if isinstance(value, Tensor) else value for value in values)


def _repeat(objective: Objective[Any], calls: list[Call]) -> None:
    objective.zero_grad()
    total = torch.zeros(())
    for network, args, kwargs, with_gradient in calls:
        with torch.set_grad_enabled(with_gradient):
            out = network(*args, **kwargs)
        if with_gradient:
            total = total + (out.pooled if isinstance(out, Encoding) else out).sum()
    total.backward()  # type: ignore[no-untyped-call]


def beside_semilearn() -> list[Result]:
    """The same network on digits of 32x32, 64 labelled and 448 unlabelled a step."""
    if semilearn() is None:
        print("semilearn is not installed, so FixMatch stands alone: see `make bench`")
        return []
    data = load("digits", image_size=32).normalised()
    few = data.hide_labels(draw_labels(data, 10, 0))
    encoder = build("residual-cnn", data.spec, width=16)
    results = []
    for workers in (0, 1):
        pairs = [(ours_trained(encoder, few), semilearn_trained(encoder, few, workers))
                 for _ in range(3)]  # fmt: skip
        ours, peer = (median(side) for side in zip(*pairs, strict=True))
        made = f"{3 * workers} processes for views" if workers else "views in the same process"
        what = "a step of FixMatch with its views, 64 + 448 images 1x32x32"
        results.append(Result(what, f"semilearn, {made}", ours, peer, "2"))
    ours, peer = side_by_side(ours_on_views(encoder, few), semilearn_on_views(encoder, few))
    what = "a step of FixMatch on given views, 64 + 448 images 1x32x32"
    results.append(Result(what, "semilearn", ours, peer, ""))
    return results


SGD = {"learning_rate": 0.03, "weight_decay": 5e-4, "optimizer": "sgd"}
"""Semilearn's optimiser: ours is AdamW, whose step is slower."""


def ours_trained(encoder: Encoder, data: Dataset) -> float:
    """Seconds a step."""
    times: list[float] = []

    def watch(progress: Progress) -> None:
        times.append(time.perf_counter())

    objective = FixMatch(encoder, data.task)
    train(objective, data, steps=STEPS, batch_size=64, log_every=10, callbacks=[watch], **SGD)  # type: ignore[arg-type]
    return (times[-1] - times[0]) / (STEPS - 10)


def semilearn_trained(encoder: Encoder, data: Dataset, workers: int) -> float:
    """Seconds a step."""
    times: list[float] = []
    peer = SemilearnFixMatch(encoder, steps=STEPS, batch_size=64, workers=workers)
    algorithm = peer.algorithm(data)
    step = algorithm.train_step

    def watched(*args: Any, **kwargs: Any) -> Any:
        times.append(time.perf_counter())
        return step(*args, **kwargs)

    algorithm.train_step = watched
    algorithm.train()
    return (times[-1] - times[10]) / (STEPS - 11)


def ours_on_views(encoder: Encoder, data: Dataset) -> Step:
    """Loss, gradient, optimiser and averaged weights."""
    objective = FixMatch(encoder, data.task, weak=nn.Identity(), strong=nn.Identity()).train()
    labelled = data.labelled.nonzero().squeeze(1)[:64]
    batch = SemiBatch(data.take(labelled), data.take(torch.arange(448)))
    optimizer = torch.optim.SGD(
        objective.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4, nesterov=True
    )

    def step() -> None:
        optimizer.zero_grad()
        objective(batch).total.backward()
        optimizer.step()
        objective.after_step(1000)

    return step


def semilearn_on_views(encoder: Encoder, data: Dataset) -> Step:
    """The same by semilearn's step and hooks."""
    algorithm = SemilearnFixMatch(encoder, steps=1000, batch_size=64).algorithm(data)
    labelled, unlabelled = first_batches(algorithm)
    algorithm.model.train()
    algorithm.call_hook("before_run")
    batch = algorithm.process_batch(**labelled, **unlabelled)

    def step() -> None:
        algorithm.out_dict, algorithm.log_dict = algorithm.train_step(**batch)
        algorithm.call_hook("after_train_step")

    return step
