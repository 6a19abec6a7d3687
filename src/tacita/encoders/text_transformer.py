"""A small Transformer over the tokens of texts.

Vaswani et al., "Attention Is All You Need", 2017, and as an encoder of texts Devlin et al., "BERT", 2019.
Choose it for texts up to some hundred tokens; for longer ones a sequence model is linear in length.
"""

from __future__ import annotations

from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding, hide_padding, masked_mean
from tacita.errors import ConfigError
from tacita.parts.positions import sine_positions
from tacita.parts.tokens import check_ids
from tacita.parts.transformer import Transformer


@method(
    "text-transformer",
    title="Text Transformer",
    paper="https://arxiv.org/abs/1810.04805",
    year=2019,
    family="encoder",
    modalities=("text",),
    summary="Features of texts from their tokens, each of which attends to all others.",
    reuses=("transformer", "positions"),
)
class TextTransformer(Encoder):
    """A vector for each token, fixed sine positions, pre-norm blocks, and the mean of the valid tokens.

    dim: width of a token.
    depth: number of blocks.
    heads: number of attention heads.
    dropout: share dropped in training, BERT's.

    Shapes: `x (B, L)` token numbers, any L from 1 up; `tokens (B, L, dim)`, zero where not valid.

    Differs from the paper: the norm comes before a branch, positions are fixed so that no text is too
    long, attention itself drops nothing, and what stands for a text is the mean of its tokens.

    Raises `ConfigError` for a vocabulary that is not known, `DataError` for numbers that are no tokens.

    >>> import torch
    >>> encoder = TextTransformer(InputSpec("text", (256,), vocabulary=1000))
    >>> encoder(torch.zeros(2, 30, dtype=torch.int64)).tokens.shape
    torch.Size([2, 30, 64])
    """

    modalities = ("text",)
    tiny = {"dim": 16}
    position_line: Tensor

    def __init__(
        self,
        spec: InputSpec,
        *,
        dim: int = 64,
        depth: int = 2,
        heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.require(spec)
        if not spec.vocabulary:
            raise ConfigError(
                "the vocabulary of the text is not known.",
                remedy='Give its size: InputSpec("text", (100,), vocabulary=256).',
            )
        self.spec = spec
        self.dim = dim
        self.register_buffer("position_line", sine_positions(spec.shape[0], dim), persistent=False)
        self.enter = nn.Embedding(spec.vocabulary, dim)
        nn.init.normal_(self.enter.weight, std=0.02)  # it may be the head of a language model too
        self.enter_norm = nn.LayerNorm(dim)
        self.drop = nn.Dropout(dropout)
        self.transformer = Transformer(dim, depth=depth, heads=heads, dropout=dropout)

    @property
    def table(self) -> Tensor:
        return self.enter.weight

    def forward(self, batch: Batch) -> Encoding:
        mask = batch.mask
        x = hide_padding(batch.x, mask)
        check_ids(x, self.spec.vocabulary)
        positions = self.position_line
        if x.shape[1] > len(positions):  # a text longer than those it was made for
            positions = sine_positions(x.shape[1], self.dim).to(positions)
        # Small vectors beside large positions would be lost, so they are brought to one size first.
        entered = self.enter_norm(self.enter(x)) + positions[: x.shape[1]]
        tokens = self.transformer(self.drop(entered), mask)
        return Encoding(hide_padding(tokens, mask), masked_mean(tokens, mask))
