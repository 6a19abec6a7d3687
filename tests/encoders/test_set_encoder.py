"""Against the equations written out for one set, and what a set must not tell: its order, its padding."""

from __future__ import annotations

from itertools import permutations

import pytest
import torch
from torch import Tensor

from tacita.data.batch import InputSpec
from tacita.encoders.set_encoder import ProcessBlock, SetEncoder, attention
from tacita.errors import ConfigError
from tacita.values import Ragged
from tests.helpers import assert_close

SPEC = InputSpec("series", (4, 2))


def encoder(steps: int = 3) -> SetEncoder:
    torch.manual_seed(0)
    network = SetEncoder(SPEC, dim=6, steps=steps).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter *= 4.0  # attention that is nearly even would hide a mistake
    return network


def elements(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def one_set(block: ProcessBlock, memories: list[Tensor]) -> Tensor:
    """q*_P of the memories of one set, gate by gate and element by element."""
    assert block.cell is not None
    d = block.dim
    q = cell = torch.zeros(d, dtype=torch.float64)
    q_star = torch.zeros(2 * d, dtype=torch.float64)
    for _ in range(block.steps):
        gates = block.cell.weight_ih @ q_star + block.cell.bias_ih
        gates = gates + block.cell.weight_hh @ q + block.cell.bias_hh
        i, f, g, o = gates[:d], gates[d : 2 * d], gates[2 * d : 3 * d], gates[3 * d :]
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        q = torch.sigmoid(o) * torch.tanh(cell)
        weights = [torch.exp(m @ q) for m in memories]
        r = sum(w * m for w, m in zip(weights, memories, strict=True)) / sum(weights)
        q_star = torch.cat([q, r])
    return q_star


def test_the_process_block_is_that_of_the_paper() -> None:
    network = encoder()
    x = elements(3, 4, 2)
    memories = network.read(x)
    found = network.process(memories)
    for row, expected in zip(memories, found, strict=True):
        assert_close(one_set(network.process, list(row)), expected)
    assert_close(network(x).pooled, network.leave(found))


@pytest.mark.parametrize("steps", [0, 1, 2, 5])
def test_no_order_changes_the_features_and_tokens_move_with_it(steps: int) -> None:
    network = encoder(steps)
    x = elements(1, 4, 2)
    expected = network(x)
    for order in permutations(range(4)):
        found = network(x[:, list(order)])
        torch.testing.assert_close(found.pooled, expected.pooled, rtol=0, atol=1e-12)
        torch.testing.assert_close(found.tokens, expected.tokens[:, list(order)], rtol=0, atol=0)


def test_a_batch_of_unequal_sets_is_each_set_alone() -> None:
    network, x = encoder(), elements(4, 4, 2)
    sizes = torch.tensor([3, 1, 4, 2])
    found = network(Ragged.of(x, sizes))
    for row, size in enumerate(sizes.tolist()):
        alone = network(x[row : row + 1, :size])
        assert_close(found.pooled[row], alone.pooled[0])
        assert_close(found.tokens[row, :size], alone.tokens[0])
        assert (found.tokens[row, size:] == 0).all()


def test_attention_is_a_mean_of_what_is_there() -> None:
    memories, query = elements(2, 4, 6), elements(2, 6)
    mask = torch.tensor([[True, False, True, False], [True] * 4])
    weights = attention(query, memories, mask)
    assert_close(weights.sum(1), torch.ones(2, dtype=torch.float64))
    assert (weights[0, [1, 3]] == 0).all()
    assert (weights[mask] > 0).all()


def test_of_a_set_of_one_element_every_step_reads_it() -> None:
    for steps in (1, 2, 5):
        network = encoder(steps)
        memories = network.read(elements(2, 1, 2))
        assert_close(network.process(memories)[:, 6:], memories[:, 0])


def test_elements_that_all_come_twice_are_not_counted() -> None:
    network, x = encoder(), elements(2, 3, 2)
    assert_close(network(torch.cat([x, x], 1)).pooled, network(x).pooled)
    once_more = torch.cat([x, x[:, :1]], 1)
    assert (network(once_more).pooled - network(x).pooled).abs().max() > 1e-3


def test_without_a_step_all_sets_are_alike_but_for_their_tokens() -> None:
    network = encoder(0)
    found = network(elements(3, 4, 2))
    assert_close(found.pooled, found.pooled[:1].expand(3, -1))
    assert found.tokens.std(0).min() > 0


def test_an_empty_set_says_nothing() -> None:
    network, x = encoder(), elements(2, 4, 2)
    sizes = torch.tensor([0, 0])
    found = network(Ragged.of(x, sizes)).pooled
    assert_close(found[0], found[1])
    assert_close(found[:1], network.leave(network.process(torch.zeros(1, 1, 6).double())))


def test_the_gradient_of_the_process_block_is_that_of_finite_differences() -> None:
    block = encoder(2).process
    mask = torch.tensor([[True, True, False], [True, True, True]])
    memories = elements(2, 3, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda m: block(m, mask), memories)


@pytest.mark.parametrize("options", [{"dim": 0}, {"steps": -1}])
def test_what_cannot_be_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        SetEncoder(SPEC, **options)
