"""Attention is compared with a direct derivation; a mask of the wrong sign would show at once."""

from __future__ import annotations

import pytest
import torch

from tacita.errors import ConfigError
from tacita.parts.transformer import Attention, Block, Transformer
from tests.helpers import assert_close


def attention_by_hand(layer: Attention, x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """One head after another, one sample after another, over the valid tokens only."""
    batch, width = len(x), layer.out.in_features
    size = width // layer.heads
    query, key, value = layer.query_key_value(x).split(width, 2)
    rows = []
    for b in range(batch):
        heads = []
        for h in range(layer.heads):
            part = slice(h * size, (h + 1) * size)
            scores = query[b, :, part] @ key[b, mask[b], part].T / size**0.5
            heads.append(scores.softmax(1) @ value[b, mask[b], part])
        rows.append(torch.cat(heads, 1))
    return layer.out(torch.stack(rows))


@pytest.mark.parametrize("head_dim", [None, 12, 5])
def test_attention_matches_a_direct_derivation(head_dim):
    torch.manual_seed(0)
    layer, x = Attention(12, 3, head_dim), torch.randn(4, 6, 12)
    mask = torch.arange(6) < torch.tensor([6, 1, 3, 5])[:, None]
    assert_close(layer(x, mask), attention_by_hand(layer, x, mask))
    assert_close(layer(x), attention_by_hand(layer, x, torch.ones(4, 6, dtype=torch.bool)))


def test_a_block_adds_its_branches_to_what_was_there():
    block, x = Block(8, 2), torch.randn(2, 3, 8)
    for branch in (block.attention.out, block.mlp[2]):
        torch.nn.init.zeros_(branch.weight)
        torch.nn.init.zeros_(branch.bias)
    assert torch.equal(block(x), x)


def test_the_order_of_tokens_does_not_matter():
    torch.manual_seed(0)
    network, x = Transformer(8, depth=2, heads=2), torch.randn(2, 5, 8)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert_close(network(x[:, order]), network(x)[:, order])


def test_a_row_without_valid_tokens_is_finite_forward_and_backward():
    network, x = Transformer(8, depth=2, heads=2), torch.randn(2, 5, 8, requires_grad=True)
    mask = torch.tensor([[True] * 5, [False] * 5])
    out = network(x, mask)
    out.sum().backward()
    assert out.isfinite().all()
    assert x.grad.isfinite().all()


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ConfigError, match="heads=3"):
        Attention(8, 3)
