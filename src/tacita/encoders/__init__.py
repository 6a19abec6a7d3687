"""Encoders: a batch of one modality in, token features and one feature vector a sample out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tacita.catalog import discover
from tacita.catalog.signature import check_arguments, parameters
from tacita.data.batch import InputSpec
from tacita.encoder import Encoder, Encoding, TokenEncoder
from tacita.errors import ConfigError

if TYPE_CHECKING:
    from tacita.encoders.language_model import LanguageModel
    from tacita.encoders.sequence_model import SequenceModel
    from tacita.encoders.wrapped import wrap

__all__ = [
    "Encoder",
    "Encoding",
    "LanguageModel",
    "SequenceModel",
    "TokenEncoder",
    "build",
    "default_encoder",
    "untrained",
    "wrap",
]


def default_encoder(spec: InputSpec, needs: Sequence[str] = ()) -> str:
    """The encoder for samples of a modality where none is named.

    needs: of the method that trains it, such as patches that can be hidden.

    >>> spec = InputSpec("series", (100, 3))
    >>> default_encoder(spec), default_encoder(spec, ["patches"])
    ('residual-conv', 'series-transformer')
    """
    card = discover.modality(spec.modality)
    return next((card.encoders[need] for need in needs if need in card.encoders), card.encoder)


def build(slug: str, spec: InputSpec, **options: Any) -> Encoder:
    """An encoder by its name in the catalog, for these samples, with random weights.

    Raises `ConfigError` for an unknown name or option, with the nearest one, or where the encoder
    reads another modality.

    >>> build("residual-cnn", InputSpec("images", (3, 32, 32)), width=16).dim
    64
    """
    card = discover.get(slug)
    if card.family != "encoder":
        raise ConfigError(
            f"{slug!r} is not an encoder but of the family {card.family}.",
            remedy=f"For {spec.modality}, {default_encoder(spec)} is the default.",
        )
    if spec.modality not in card.modalities:
        raise ConfigError(
            f"{slug!r} reads {' and '.join(card.modalities)}, not {spec.modality}.",
            remedy=f"For {spec.modality}, {default_encoder(spec)} is the default.",
        )
    arguments = check_arguments(slug, parameters(slug), options)
    encoder: Encoder = discover.load_class(slug)(spec, **arguments)
    encoder.built = slug, arguments
    return encoder


def untrained(encoder: Encoder) -> Encoder:
    """Another encoder of the same kind and size, with new random weights, or those it always begins with.

    Raises `ConfigError` for one that `build` has not made, of which the options are not known.

    >>> encoder = build("residual-cnn", InputSpec("images", (3, 32, 32)), width=16)
    >>> other = untrained(encoder)
    >>> other.dim, bool((next(other.parameters()) == next(encoder.parameters())).any())
    (64, False)
    """
    if encoder.built is None:
        raise ConfigError(
            f"How this {type(encoder).__name__} was made is not known, so another cannot be made.",
            remedy="Make it with tacita.encoders.build(NAME, spec, **options).",
        )
    slug, arguments = encoder.built
    return build(slug, encoder.spec, **arguments)


def __getattr__(name: str) -> Any:
    """What brings much with it, or builds on this module, is imported when first asked for."""
    if name == "SequenceModel":
        from tacita.encoders.sequence_model import SequenceModel

        return SequenceModel
    if name == "LanguageModel":
        from tacita.encoders.language_model import LanguageModel

        return LanguageModel
    if name == "wrap":
        from tacita.encoders.wrapped import wrap

        return wrap
    raise AttributeError(f"module 'tacita.encoders' has no attribute {name!r}")
