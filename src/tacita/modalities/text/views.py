"""Views of texts: tokens left out here and there, and a stretch of them hidden."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.data.batch import Batch, InputSpec
from tacita.errors import ConfigError
from tacita.processes import rand
from tacita.values import Ragged, full


class TextViews(nn.Module):
    """Each token is left out with probability `drop`, then one stretch of the text is hidden.

    drop: chance of a token to be left out; the text closes up behind it. One at least stays.
    span: largest share of the text that is hidden, in one stretch: its tokens become `hidden_token`.

    Both are the cut-offs of Shen et al. (2020), made of tokens rather than of their vectors. Special
    tokens stay as they are. Shapes: ragged tokens to ragged ones, of the same padded length.

    >>> spec = InputSpec("text", (8,), vocabulary=9, hidden_token=0, specials=(0,))
    >>> batch = Batch.of(Ragged(torch.tensor([3, 4, 5, 6, 7]), torch.tensor([4, 1]), 8))
    >>> TextViews(spec, drop=1.0)(batch).samples.lengths.tolist()
    [1, 1]

    Raises `ConfigError` for a share that is none, and for a span where no token stands for hidden ones.
    """

    def __init__(self, spec: InputSpec, *, drop: float = 0.0, span: float = 0.0) -> None:
        super().__init__()
        for name, value in (("drop", drop), ("span", span)):
            if not 0 <= value <= 1:
                raise ConfigError(f"{name}={value} is no share.", remedy="Give from 0 to 1.")
        if span and spec.hidden_token is None:
            raise ConfigError(
                "the vocabulary has no token that stands for hidden ones.",
                remedy="Take a tokeniser with [MASK], such as words, or leave span out.",
            )
        self.drop = drop
        self.span = span
        self.hidden_token = spec.hidden_token
        self.specials = spec.specials

    @classmethod
    def weak(cls, spec: InputSpec) -> TextViews:
        """One token in twenty left out."""
        return cls(spec, drop=0.05)

    @classmethod
    def strong(cls, spec: InputSpec) -> TextViews:
        """One token in seven left out, and up to a fifth of the text hidden, where it can be."""
        return cls(spec, drop=0.15, span=0.0 if spec.hidden_token is None else 0.2)

    def forward(self, batch: Batch) -> Batch:
        samples = batch.samples if isinstance(batch.samples, Ragged) else full(batch.x)
        samples = self._left_out(samples)
        return batch.with_samples(self._hidden(samples))

    def _special(self, tokens: Tensor) -> Tensor:
        return torch.isin(tokens, torch.tensor(self.specials, device=tokens.device))

    def _left_out(self, samples: Ragged) -> Ragged:
        if not self.drop:
            return samples
        tokens, valid = samples.padded, samples.mask
        keep = valid & ((rand(*tokens.shape, device=tokens.device) >= self.drop)
                        | self._special(tokens))  # fmt: skip
        # Where none is left, the first one stays.
        none = ~keep.any(1) & valid.any(1)
        keep[:, 0] |= none
        order = (~keep).long().argsort(dim=1, stable=True)
        lengths = keep.sum(1)
        moved = tokens.gather(1, order)
        inside = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        return Ragged.of(moved.masked_fill(~inside, 0), lengths)

    def _hidden(self, samples: Ragged) -> Ragged:
        if not self.span:
            return samples
        tokens, lengths = samples.padded, samples.lengths
        draw = rand(2, len(samples), 1, device=tokens.device, dim=1)
        width = (draw[0] * self.span * lengths[:, None]).round()
        start = (draw[1] * (lengths[:, None] - width + 1)).floor()
        place = torch.arange(tokens.shape[1], device=tokens.device)
        inside = (place >= start) & (place < start + width)
        assert self.hidden_token is not None
        return samples.with_padded(
            torch.where(inside & ~self._special(tokens), self.hidden_token, tokens)
        )
