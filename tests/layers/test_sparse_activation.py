"""What is active is kept in order, what is not costs nothing, and nothing comes from where nothing was."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tacita.errors import ConfigError
from tacita.layers.seqboat import SeqBoat
from tacita.layers.sparse_activation import Compression, Router, activation_shares
from tacita.layers.stack import Block, Stack
from tests.helpers import assert_close

SHARES = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])


def drawn(batch: int, length: int, share: float, seed: int) -> Tensor:
    return torch.rand(batch, length, generator=torch.Generator().manual_seed(seed)) < share


@settings(deadline=None, max_examples=60)
@given(
    batch=st.integers(1, 4), length=st.integers(1, 20), share=SHARES, seed=st.integers(0, 10_000)
)
def test_extracting_what_was_compressed_gives_the_active_steps(
    batch: int, length: int, share: float, seed: int
) -> None:
    active = drawn(batch, length, share, seed)
    x = torch.randn(batch, length, 3, dtype=torch.float64, requires_grad=True)
    few = Compression.of(active)
    short = few.compress(x)
    assert torch.equal(few.extract(short), x * active[..., None])
    assert short.shape[1] == max(1, int(active.sum(1).max()))
    assert few.count.tolist() == active.sum(1).tolist()
    for row in range(batch):
        kept = int(few.count[row])
        assert torch.equal(short[row, :kept], x[row][active[row]])
        assert (short[row, kept:] == 0).all()
        assert few.steps[row, :kept].tolist() == (active[row].nonzero()[:, 0] + 1).tolist()
    (slope,) = torch.autograd.grad(few.extract(short).square().sum(), x)
    assert torch.equal(slope, 2 * x * active[..., None])


def test_what_is_inactive_may_be_anything() -> None:
    x = torch.tensor([[float("nan"), 1.0, float("inf")], [2.0, float("nan"), float("nan")]])
    few = Compression.of(torch.tensor([[False, True, False], [True, False, False]]))
    assert few.compress(x).tolist() == [[1.0], [2.0]]


def test_an_empty_batch_has_a_place_too() -> None:
    few = Compression.of(torch.zeros(0, 5, dtype=torch.bool))
    assert few.compress(torch.zeros(0, 5, 2)).shape == (0, 1, 2)


def test_the_confidence_is_the_softmax_where_it_is_the_larger_share() -> None:
    torch.manual_seed(0)
    router, x = Router(8, temperature=0.5).double(), torch.randn(2, 50, 8, dtype=torch.float64)
    share = ((x @ router.weight.T + router.bias) / (0.5 * 8**0.5)).softmax(2)[..., 1]
    assert 0.2 < (share > 0.5).double().mean() < 0.8
    # The temperature is kept as a logarithm in single precision.
    torch.testing.assert_close(router(x), share * (share > 0.5), rtol=1e-6, atol=1e-6)


def test_equal_logits_are_inactive_and_so_is_what_is_no_step() -> None:
    router = Router(4)
    nn.init.zeros_(router.weight)
    assert (router(torch.randn(1, 3, 4)) == 0).all()
    router.bias.data[1] = 1.0
    valid = torch.tensor([[True, True, False]])
    assert (router(torch.randn(1, 3, 4), valid) > 0.5).tolist() == valid.tolist()


def test_the_temperature_learns_as_soon_as_one_step_is_active() -> None:
    router, x = Router(4), torch.randn(1, 9, 4)
    while not 0 < (confidence := router(x)).count_nonzero() < 3:
        x = torch.randn(1, 9, 4)
    confidence.sum().backward()
    assert router.log_temperature.grad is not None
    assert router.log_temperature.grad.abs() > 0


def test_shares_are_of_the_valid_steps_and_named_by_layer() -> None:
    layers = [SeqBoat(8, d_state=2) for _ in range(2)]
    for layer, bias in zip(layers, (5.0, -5.0), strict=True):
        layer.router.bias.data[1] = bias
    model, x = Stack([Block(layer) for layer in layers]), torch.randn(2, 10, 8)
    found = activation_shares(model, lambda: model(x, lengths=torch.tensor([10, 4])))
    assert [(f.module, f.share, f.steps) for f in found] == [
        ("blocks.0.layer.router", 1.0, 14),
        ("blocks.1.layer.router", 0.0, 14),
    ]
    assert not any(m._forward_hooks for m in model.modules())


def test_a_model_without_a_router_and_a_temperature_of_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="no router"):
        activation_shares(nn.Linear(1, 1), int)
    with pytest.raises(ConfigError, match="temperature=0"):
        Router(4, temperature=0.0)


def test_halving_a_router_leaves_its_decisions() -> None:
    router, x = Router(8), torch.randn(3, 100, 8).bfloat16()
    before = router(x.float()) > 0
    assert_close(router.bfloat16()(x) > 0, before)
