"""Every token of an encoder as features, for a head that tells tokens apart."""

from __future__ import annotations

from tacita.data.batch import Batch
from tacita.encoder import Encoder, Encoding, TokenEncoder
from tacita.errors import ConfigError


class Flattened(Encoder):
    """An encoder whose features are the tokens of another end to end, not their mean.

    T-JEPA reads its tokens so: `LinearProbe(Flattened(encoder))`. Shapes: `tokens (B, 1, T dim)`,
    `pooled (B, T dim)`. With few labels a mean is easier to learn from; this keeps all there is.

    Raises `ConfigError` for an encoder whose number of tokens is not fixed: one of series, or one
    without tokens.

    >>> import torch
    >>> from tacita.data.batch import InputSpec
    >>> from tacita.encoders import build
    >>> encoder = build("vit", InputSpec("images", (1, 8, 8)), dim=12, depth=1)
    >>> Flattened(encoder)(torch.zeros(2, 1, 8, 8)).pooled.shape
    torch.Size([2, 192])
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        if not isinstance(encoder, TokenEncoder) or not encoder.fixed:
            raise ConfigError(
                f"{type(encoder).__name__} has no fixed number of tokens to lay end to end.",
                remedy="Choose vit for images, ft-transformer or feature-tokens for tables.",
            )
        self.encoder = encoder
        self.spec = encoder.spec
        self.dim = encoder.positions.shape[0] * encoder.dim

    def forward(self, batch: Batch) -> Encoding:
        flat = self.encoder(batch).tokens.flatten(1)
        return Encoding(flat[:, None], flat)
