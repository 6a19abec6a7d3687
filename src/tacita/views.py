"""Views of your own: a function from samples to samples of the same form, under a name for every method."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tacita.catalog import discover
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.data.modality import default_views
from tacita.errors import ConfigError
from tacita.words import nearest

Views = str | Callable[[Batch], Batch]
"""A view maker, or the name under which `wrap` made one of a function."""

TRIED = 64
"""Samples that views are tried on before a run begins."""
_WRAPPED: dict[str, OwnViews] = {}
_UNNEEDED: ContextVar[bool] = ContextVar("unneeded", default=False)


class OwnViews(nn.Module):
    """A view maker around a function that knows nothing of tacita; `wrap` makes one.

    It draws one number a batch from torch's global generator and seeds the function's own with it, so that
    a step can be repeated whatever the function draws.
    """

    def __init__(
        self, function: Callable[..., Tensor], name: str, modality: str, vocabulary: int = 0
    ) -> None:
        super().__init__()
        # In a tuple a module is no part of this one, whose weights would be trained and saved.
        self._function = (function,)
        self.name = name
        self.modality = modality
        self.vocabulary = vocabulary
        self._masked = "mask" in inspect.signature(function).parameters
        self._seen: list[Literal["checked"]] = []

    def of(self, spec: InputSpec) -> OwnViews:
        """One of its own for an objective; raises `ConfigError` for samples of another modality."""
        if spec.modality != self.modality:
            raise ConfigError(
                f"the views {self.name!r} are of {self.modality}, but the samples are {spec.modality}.",
                remedy=f"Wrap a function with modality={spec.modality!r}.",
            )
        return OwnViews(self._function[0], self.name, self.modality, spec.vocabulary)

    def forward(self, batch: Batch) -> Batch:
        x, mask = batch.x, batch.mask
        seed = int(torch.randint(2**62, ()))
        seen = self._view(x, mask, seed)
        if not self._seen:
            self._check(seen, x, mask, seed)
            self._seen.append("checked")
        if mask is not None:
            seen = torch.where(mask.view(*mask.shape, *[1] * (x.ndim - 2)), seen, x)
        return batch.with_x(seen)

    def _view(self, x: Tensor, mask: Tensor | None, seed: int) -> Tensor:
        generator = torch.Generator(device=x.device).manual_seed(seed)
        masks = {"mask": mask} if self._masked else {}
        # A copy, so that a function may change it in place: other views are made of the same samples.
        return self._function[0](x.clone(), generator, **masks)

    def _check(self, seen: Any, x: Tensor, mask: Tensor | None, seed: int) -> None:
        """Raise `ConfigError` where what a function made of the first batch cannot be a view of it."""
        if not isinstance(seen, Tensor):
            raise self._wrong(f"give {type(seen).__name__}, not a tensor")
        if seen.shape != x.shape:
            raise self._wrong(f"make {tuple(seen.shape)} of samples of shape {tuple(x.shape)}")
        if seen.dtype != x.dtype or seen.device != x.device:
            raise self._wrong(
                f"make {seen.dtype} on {seen.device} of samples of {x.dtype} on {x.device}"
            )
        if seen.is_floating_point() and not bool(seen.isfinite().all()):
            raise self._wrong("make values that are not finite")
        if self.vocabulary and not bool(((seen >= 0) & (seen < self.vocabulary)).all()):
            raise self._wrong(f"make tokens that are not from 0 to {self.vocabulary - 1}")
        if not torch.equal(self._view(x, mask, seed), seen):
            raise ConfigError(
                f"the views {self.name!r} differ under one state of their generator.",
                remedy="Draw from it alone: torch.rand(..., generator=generator), or for NumPy"
                " np.random.default_rng(generator.initial_seed()).",
            )

    def _wrong(self, what: str) -> ConfigError:
        return ConfigError(
            f"the views {self.name!r} {what}.",
            remedy="Give a tensor of the same shape, type and device as the samples, and finite.",
        )


def own() -> frozenset[str]:
    """The names under which functions were wrapped in this process."""
    return frozenset(_WRAPPED)


def wrap(function: Callable[..., Tensor], name: str, *, modality: str) -> OwnViews:
    """Make a function a view maker that is known by a name: `tacita.adapt(..., views=name)`.

    function: from normalised samples `(B, ...)` and a `torch.Generator` on their device, seeded anew for
        every batch, to samples of the same shape, type and device, in the same order. It is called with
        `mask=` too where it has such an argument: `(B, L)` bool, True where a sample has a step, or None
        where all are of one length; what it makes of padding is left aside.
    name: words in lower case joined by hyphens; a name given again is the new function's.
    modality: what it reads, such as "images".

    Gives a view maker, from a batch to a batch, for the classes of objectives and loops of your own. Raises
    `ConfigError` for an unknown modality or a function that does not take samples and a generator, and with
    the first batch for one that makes no view of it or draws random numbers from elsewhere.

    >>> def brighter(x: Tensor, generator: torch.Generator) -> Tensor:
    ...     return x + torch.rand(len(x), 1, 1, 1, generator=generator, device=x.device)
    >>> views = wrap(brighter, "brighter", modality="images")
    >>> views(Batch.of(torch.zeros(2, 1, 8, 8))).x.shape
    torch.Size([2, 1, 8, 8])
    """
    discover.modality(modality)
    if not callable(function):
        raise ConfigError(
            f"what was wrapped as {name!r} is {type(function).__name__}, not a function.",
            remedy="Give a function from samples and a generator to samples.",
        )
    signature = inspect.signature(function)
    masks = {"mask": None} if "mask" in signature.parameters else {}
    try:
        signature.bind(None, None, **masks)
    except TypeError as error:
        raise ConfigError(
            f"the function of the views {name!r} is not one of samples and a generator: {error}.",
            remedy="Let it begin as: def views(x, generator).",
        ) from error
    views = OwnViews(function, name, modality)
    _WRAPPED[name] = views
    return views


def views_of(
    views: Views | None, spec: InputSpec, strength: Literal["weak", "strong"]
) -> Callable[[Batch], Batch]:
    """The view maker that an objective was given, by itself or by name, or else the modality's own.

    Raises `ConfigError` for a name that nothing was wrapped under, and for views of another modality.
    """
    if views is None:
        return default_views(spec, strength)
    if isinstance(views, OwnViews):
        return views.of(spec)
    if not isinstance(views, str):
        return views
    if views in _WRAPPED:
        return _WRAPPED[views].of(spec)
    if _UNNEEDED.get():
        return nn.Identity()
    near = nearest(views, list(_WRAPPED))
    raise ConfigError(
        f"no function is wrapped as views {views!r}.",
        remedy=f"Did you mean {near!r}?"
        if near
        else f"In Python: tacita.views.wrap(function, {views!r}, modality={spec.modality!r}).",
    )


def try_views(networks: nn.Module, data: Dataset) -> None:
    """Let the own views of an objective see the first samples, normalised; raises as they do in training."""
    first = data.subset(torch.arange(min(TRIED, len(data)))).normalised(data.normaliser)
    for module in networks.modules():
        if isinstance(module, OwnViews):
            module(first.take(torch.arange(len(first))))


@contextmanager
def unneeded() -> Iterator[None]:
    """A while in which views may be unknown: to predict, a model that was saved needs none."""
    token = _UNNEEDED.set(True)
    try:
        yield
    finally:
        _UNNEEDED.reset(token)
