"""A torch module of your own as an encoder, under a name that every verb, recipe and saved model knows."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor, nn

from tacita.catalog import discover
from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding, hide_padding, masked_mean
from tacita.errors import ConfigError

Maker: TypeAlias = Callable[[InputSpec], nn.Module]


class Wrapped(Encoder):
    """An encoder around a module that knows nothing of tacita; `wrap` makes a class of each."""

    make: ClassVar[Maker]
    name: ClassVar[str]

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.require(spec)
        self.spec = spec
        self.module = type(self).make(spec)
        self._masked = "mask" in inspect.signature(self.module.forward).parameters
        self.dim = self._width()

    def forward(self, batch: Batch) -> Encoding:
        mask = batch.mask
        if mask is not None and not self._masked:
            raise ConfigError(
                f"the samples differ in length, and the module of {self.name!r} takes no mask.",
                remedy="Give its forward an argument `mask`, (B, L) and True where a step is valid.",
            )
        found = self.module(batch.x, mask=mask) if self._masked else self.module(batch.x)
        return self._encoding(found, mask, len(batch.x))

    def _encoding(self, found: object, mask: Tensor | None, count: int) -> Encoding:
        """`(B, dim)` features, `(B, T, dim)` tokens or a `(B, dim, H, W, ...)` map, as an encoding."""
        if not isinstance(found, Tensor) or found.ndim < 2 or found.shape[0] != count:
            shown = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ConfigError(
                f"the module of {self.name!r} gives {shown} for {count} samples.",
                remedy="Let it give a tensor: (B, dim), (B, tokens, dim) or a map (B, dim, H, W).",
            )
        if found.ndim == 2:
            return Encoding(found[:, None], found)
        tokens = found if found.ndim == 3 else found.flatten(2).transpose(1, 2)
        if mask is not None and mask.shape != tokens.shape[:2]:
            raise ConfigError(
                f"the module of {self.name!r} gives {tokens.shape[1]} tokens for {mask.shape[1]} steps,"
                " so which of them are valid is not known.",
                remedy="Let it give a token a step, or features (B, dim) that leave padding out.",
            )
        return Encoding(hide_padding(tokens, mask), masked_mean(tokens, mask))

    @torch.no_grad()
    def _width(self) -> int:
        """The width of the features, found by two samples; it also shows that the shape will do."""
        training = self.training
        place = next((p.device for p in self.module.parameters()), None)
        kind = torch.int64 if self.spec.vocabulary else torch.float32
        x = torch.zeros(2, *self.spec.shape, dtype=kind, device=place)
        try:
            return int(self.eval()(x).pooled.shape[1])
        except (RuntimeError, AssertionError, IndexError, TypeError) as error:
            if x.is_meta or torch.get_default_device().type == "meta":
                raise NotImplementedError from error  # Only shapes are asked for: not an answer.
            raise ConfigError(
                f"the module of {self.name!r} does not take samples {tuple(x.shape)}: {error}",
                remedy="It is called with normalised samples, batch first, as tacita's encoders are.",
            ) from error
        finally:
            self.train(training)


def wrap(module: nn.Module | Maker, name: str, *, modality: str) -> type[Encoder]:
    """Make a torch module an encoder that is known by a name: `tacita.fit(..., encoder=name)`.

    module: a module, whose weights are where every training begins; it is copied and itself never
        changed. Or a function from an `InputSpec` (`spec.shape`, `spec.channels`) to a module, which is
        called anew for every training: a class whose constructor takes it is one.
    name: words in lower case joined by hyphens. A saved model names it; wrap the module again under
        the same name before loading the model in another process.
    modality: what it reads, such as "images": it is called with normalised samples `(B, ...)`, and with
        `mask=` where its `forward` has such an argument.

    It gives features `(B, dim)`, tokens `(B, T, dim)` or a map `(B, dim, H, W)`; of the latter two the mean
    is pooled. Gives the class that was registered. Raises `ConfigError` for a name that is taken, an
    unknown modality, or, when it is built, for a module that does not take the samples.

    >>> Small = wrap(lambda spec: nn.Linear(spec.channels, 8), "small-mlp", modality="tables")
    >>> Small(InputSpec("tables", (3,))).dim
    8
    """
    discover.modality(modality)
    if name in discover.scan(discover.ROOT):
        raise ConfigError(
            f"{name!r} is the name of a method of tacita.", remedy="Give your module another name."
        )

    def make(spec: InputSpec) -> nn.Module:
        made = copy.deepcopy(module) if isinstance(module, nn.Module) else module(spec)
        if not isinstance(made, nn.Module):
            raise ConfigError(
                f"what was wrapped as {name!r} makes {type(made).__name__}, not a torch module.",
                remedy="Give an nn.Module, or a function from an InputSpec to one.",
            )
        return made

    class Own(Wrapped):
        """A module of your own."""

        modalities = (modality,)

    Own.make, Own.name = staticmethod(make), name
    Own.__qualname__ = f"wrapped {name}"
    register = method(
        name,
        title=name,
        family="encoder",
        modalities=(modality,),
        summary="A torch module of your own.",
    )
    return register(Own)
