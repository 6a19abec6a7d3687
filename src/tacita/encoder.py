"""The contract of an encoder: a batch in, token features and one pooled feature vector out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn

from tacita.catalog import discover
from tacita.data.batch import Batch, InputSpec
from tacita.errors import ConfigError
from tacita.values import Values


@dataclass(frozen=True)
class Encoding:
    """What an encoder gives; `tokens, pooled = encoder(batch)` takes it apart.

    Shapes: `tokens (B, T, dim)`, `pooled (B, dim)`; of graphs `tokens (V, dim)`, a token a node.

    owner: of graphs, the sample `(V,)` that each token belongs to; else None, as a sample has its row.
    """

    tokens: Tensor
    pooled: Tensor
    owner: Tensor | None = None

    def __iter__(self) -> Iterator[Tensor]:
        return iter((self.tokens, self.pooled))


class Encoder(nn.Module, ABC):
    """Turns normalised samples into features; knows nothing of labels, losses or devices.

    `encoder(batch)` takes a batch, or samples alone: a tensor, or `Ragged` where lengths differ. Padding
    never changes the features of what is valid.
    """

    modalities: ClassVar[tuple[str, ...]]
    tiny: ClassVar[Mapping[str, Any]] = {}
    """Arguments that make a small one, for suites and trials; nothing else depends on them."""
    surrogate: ClassVar[bool] = False
    """Whether its gradient stands in for that of jumps, such as spikes; no finite difference shows it."""
    dim: int
    spec: InputSpec
    built: tuple[str, Mapping[str, Any]] | None = None
    """The name and the options that `tacita.encoders.build` made it from, if it did."""

    @abstractmethod
    def forward(self, batch: Batch) -> Encoding:
        """Encode a batch."""

    @property
    def causal(self) -> bool:
        """Whether a token depends on the steps up to its own only."""
        return False

    def per_step(self, batch: Batch) -> Tensor:
        """`(B, L, dim)`: features of every time step, of a token or of the one that its step is nearest to.

        Raises `ConfigError` for an encoder whose tokens are no steps, or stretches of them.
        """
        raise ConfigError(
            f"{type(self).__name__} has no features of each time step.",
            remedy=f"Choose {', '.join(_with_steps(self.spec.modality)) or 'an encoder of series'}.",
        )

    @property
    def table(self) -> Tensor:
        """`(V, dim)`: of an encoder that reads tokens of a vocabulary, the vector of each.

        Raises `ConfigError` for any other.
        """
        raise ConfigError(
            f"{type(self).__name__} has no vectors of tokens.",
            remedy="Choose an encoder of texts; `tacita methods encoder` lists them.",
        )

    def __call__(self, batch: Batch | Values) -> Encoding:
        return super().__call__(batch if isinstance(batch, Batch) else Batch.of(batch))

    @classmethod
    def require(cls, spec: InputSpec) -> None:
        """Refuse samples of a modality that this encoder cannot read."""
        if spec.modality not in cls.modalities:
            raise ConfigError(
                f"{cls.__name__} reads {' and '.join(cls.modalities)}, not {spec.modality}.",
                remedy=f"Choose an encoder for {spec.modality}; `tacita methods encoder` lists them.",
            )


class TokenEncoder(Encoder):
    """An encoder that is a set of tokens through blocks, so that tokens can be hidden from it.

    `forward` is `pool(blocks(embed(x)))`; masked objectives call the steps apart.
    """

    fixed: ClassVar[bool] = True
    """Whether every sample has the same number of tokens."""

    @abstractmethod
    def patches(self, x: Tensor) -> Tensor:
        """`(B, T, P)`: what each token stands for, as numbers; the target of a reconstruction."""

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """`(B, T, dim)`: tokens with their positions, before any block."""

    @abstractmethod
    def blocks(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """`(B, T', dim)` to the same shape, any number of tokens; `mask (B, T')` True = valid."""

    @abstractmethod
    def token_mask(self, mask: Tensor | None) -> Tensor | None:
        """A mask over values to a mask over tokens: a token is valid if any of its values is."""

    @property
    @abstractmethod
    def positions(self) -> Tensor:
        """`(T, dim)`: the position embedding of each token."""

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns in which the tokens lie: one row, but for images."""
        return 1, self.positions.shape[0]

    def patch_weights(self) -> Tensor | None:
        """`(T, P)` of 0 and 1: which numbers of a patch mean something; None means all."""
        return None


class SliceEncoder(Encoder):
    """An encoder of volumes, slice by slice, in two halves that can be called, trained and frozen apart.

    widths: channels of each level, from the full size down, each level half the size of the one before.
    """

    widths: tuple[int, ...]
    contracting: nn.ModuleList
    expanding: nn.ModuleList

    @abstractmethod
    def contract(self, slices: Tensor) -> list[Tensor]:
        """The map of every level of `(M, C, H, W)` slices, from the full size down."""

    @abstractmethod
    def expand(self, maps: list[Tensor], blocks: int | None = None) -> Tensor:
        """The map after the first `blocks` steps up from the deepest level; default: after all."""


def _with_steps(modality: str) -> list[str]:
    """The encoders of a modality that have features of each time step, by name."""
    found = (card for card in discover.cards().values() if card.family == "encoder")
    read = [card.slug for card in found if modality in card.modalities]
    return [slug for slug in read if discover.load_class(slug).per_step is not Encoder.per_step]


def require_tokens(encoder: Encoder, method: str) -> TokenEncoder:
    """The encoder, if it has tokens of which some can be hidden and others seen.

    Raises `ConfigError` for an encoder without tokens, or of a single one.
    """
    if not isinstance(encoder, TokenEncoder):
        card = discover.modality(encoder.spec.modality)
        raise ConfigError(
            f"{method} hides tokens, and {type(encoder).__name__} has none to hide.",
            remedy=f"Choose {card.encoders.get('patches', 'another')} for {card.name}."
            if "patches" in card.gives
            else f"There is none for {card.name}.",
        )
    if encoder.positions.shape[0] < 2:
        raise ConfigError(
            f"{method} got an encoder of a single token, of which nothing can be predicted.",
            remedy="Use a smaller patch, or another method if the samples are that small.",
        )
    return encoder


def masked_mean(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of `(B, T, D)` over the valid tokens of `(B, T)`."""
    if mask is None:
        return tokens.mean(1)
    weight = mask.to(tokens.dtype)[:, :, None]
    return (tokens * weight).sum(1) / weight.sum(1).clamp_min(1)


def hide_padding(x: Tensor, mask: Tensor | None) -> Tensor:
    """`(B, L, C)`, or `(B, L)`, with zeros where `mask (B, L)` is False, whatever stood there."""
    if mask is None:
        return x
    return x.masked_fill(~mask[:, :, None] if x.ndim > 2 else ~mask, 0)
