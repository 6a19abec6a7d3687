"""Every option against one slow reference: each step by itself, over the steps that it may see.

What goes wrong in attention are positions after a cut or a reset, masks of ragged batches, and the
first steps of a window.
"""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tacita.errors import ConfigError
from tacita.layers.attention import Attention
from tacita.layers.recall import rotate
from tests.helpers import assert_close

WIDTH = 8


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def make(**options: object) -> Attention:
    torch.manual_seed(0)
    return Attention(WIDTH, **{"heads": 2, **options}).double()


def by_hand(layer: Attention, x: Tensor, resets: Tensor | None = None) -> Tensor:
    """`(L, D)` of one sample: pairs as complex numbers, turned by absolute steps, one query a time."""
    length, heads, width = len(x), layer.heads, WIDTH // layer.heads
    query, key, value = (x @ layer.query_key_value.weight.T).view(length, 3, heads, width).unbind(1)
    frequency = torch.tensor([10_000.0 ** (-2 * i / width) for i in range(width // 2)])
    rows = []
    for t in range(length):
        seen = [
            s
            for s in range(length)
            if (not layer.causal or s <= t)
            and (layer.recall.window is None or abs(t - s) < layer.recall.window)
            and (resets is None or not resets[min(s, t) + 1 : max(s, t) + 1].any())
        ]
        joined = []
        for head in range(heads):
            scores = []
            for s in seen:
                a = torch.complex(query[t, head, : width // 2], query[t, head, width // 2 :])
                b = torch.complex(key[s, head, : width // 2], key[s, head, width // 2 :])
                turn = torch.exp(1j * frequency.double() * (t - s))
                scores.append((a * turn * b.conj()).sum().real / width**0.5)
            weights = torch.stack(scores).softmax(0)
            joined.append(weights @ value[seen, head])
        rows.append(torch.cat(joined))
    return torch.stack(rows) @ layer.out.weight.T


@pytest.mark.parametrize("window", [None, 1, 3, 5, 40])
@pytest.mark.parametrize("causal", [True, False])
def test_it_is_attention_by_hand(causal: bool, window: int | None) -> None:
    layer, x = make(causal=causal, window=window), noise(2, 13, WIDTH)
    y = layer(x)
    for row in range(2):
        assert_close(y[row], by_hand(layer, x[row]))


@pytest.mark.parametrize("window", [None, 1, 3, 5, 40])
@pytest.mark.parametrize("causal", [True, False])
def test_resets_and_lengths_are_masks(causal: bool, window: int | None) -> None:
    layer, x = make(causal=causal, window=window), noise(3, 13, WIDTH)
    resets = torch.zeros(3, 13, dtype=torch.bool)
    resets[0, [4, 5]] = resets[1, [0, 9]] = True
    lengths = torch.tensor([11, 13, 2])
    y = layer(x, lengths=lengths, resets=resets)
    for row, length in enumerate(lengths.tolist()):
        assert_close(y[row, :length], by_hand(layer, x[row, :length], resets[row, :length]))


@settings(deadline=None, max_examples=40)
@given(
    window=st.sampled_from([None, 1, 2, 4, 30]),
    cuts=st.lists(st.integers(1, 14), max_size=4, unique=True).map(sorted),
    chance=st.sampled_from([0.0, 0.2]),
    seed=st.integers(0, 100),
)
def test_a_windowed_sequence_with_resets_can_be_cut_anywhere(
    window: int | None, cuts: list[int], chance: float, seed: int
) -> None:
    layer, x = make(window=window), noise(2, 15, WIDTH, seed=seed)
    resets = torch.rand(2, 15, generator=torch.Generator().manual_seed(seed)) < chance
    state, pieces = layer.initial_state(2), []
    for a, b in zip([0, *cuts], [*cuts, 15], strict=True):
        if b - a == 1:
            y, state = layer.step(x[:, a], state, reset=resets[:, a])
            y = y[:, None]
        else:
            y, state = layer(x[:, a:b], resets=resets[:, a:b], state=state, return_state=True)
        pieces.append(y)
    assert_close(torch.cat(pieces, 1), layer(x, resets=resets))


@pytest.mark.parametrize("window", [None, 3])
def test_ragged_samples_go_on_from_their_own_last_step(window: int | None) -> None:
    layer, x, more = make(window=window), noise(3, 9, WIDTH), noise(3, 4, WIDTH, seed=1)
    lengths = torch.tensor([9, 4, 0])
    _, state = layer(x, lengths=lengths, return_state=True)
    y = layer(more, state=state)
    for row, length in enumerate(lengths.tolist()):
        alone = torch.cat([x[row, :length], more[row]])
        assert_close(y[row], by_hand(layer, alone)[length:])


def test_only_differences_of_positions_matter() -> None:
    q, k = noise(1, 1, 1, 8), noise(1, 1, 1, 8, seed=1)

    def score(at: int, other: int) -> Tensor:
        return (rotate(q, torch.tensor([at])) * rotate(k, torch.tensor([other]))).sum()

    assert_close(score(1_000_007, 1_000_002), score(5, 0))
    assert (score(5, 0) - score(6, 0)).abs() > 1e-3
    assert_close(rotate(q, torch.tensor([12345])).norm(), q.norm())


def test_a_rotation_is_by_hand_that_of_the_plane() -> None:
    # Two pairs: the first turns by one radian a step, the second by a hundredth.
    x = torch.tensor([[[[1.0, 0.0, 0.0, 2.0]]]], dtype=torch.float64)
    turned = rotate(x, torch.tensor([3])).flatten()
    angles = torch.tensor([3.0, 0.03], dtype=torch.float64)
    expected = torch.stack(
        [angles[0].cos(), -2 * angles[1].sin(), angles[0].sin(), 2 * angles[1].cos()]
    )
    assert_close(turned, expected)


def test_it_recalls_the_steps_with_an_equal_key() -> None:
    # Keys that stand far apart make softmax a look-up: the value of the equal key comes back.
    layer = Attention(8, heads=1).double()
    with torch.no_grad():
        layer.out.weight.copy_(torch.eye(8))
        layer.query_key_value.weight.zero_()
        layer.query_key_value.weight[16:] = torch.eye(8)
        layer.query_key_value.weight[3, 3] = layer.query_key_value.weight[11, 3] = 30
    x = noise(1, 5, 8)
    x[0, :, 3] = torch.tensor([-1.0, -1.0, 1.0, -1.0, 1.0])  # the slowest pair hardly turns
    y = layer(x)[0, 4]
    torch.testing.assert_close(y, (x[0, 2] + x[0, 4]) / 2, rtol=0, atol=1e-3)


def test_the_state_grows_with_the_steps_and_no_further_than_the_window() -> None:
    state, bounded = make().initial_state(1), make(window=4).initial_state(1)
    for t in range(7):
        _, state = make().step(noise(1, WIDTH), state)
        _, bounded = make(window=4).step(noise(1, WIDTH), bounded)
        assert state["keys"].shape == (1, 2, t + 1, 4)
        assert bounded["keys"].shape == (1, 2, min(t + 1, 3), 4)


def test_a_reset_gives_the_memory_back_that_nobody_uses() -> None:
    layer = make()
    _, state = layer(noise(2, 9, WIDTH), return_state=True)
    half = layer.erase(state, torch.tensor([True, False]))
    assert half["keys"].shape[2] == 9
    assert layer.erase(half, torch.tensor([False, True]))["keys"].shape[2] == 0


def test_causal_attention_makes_no_mask_and_saves_nothing_quadratic() -> None:
    length = 600
    sizes: list[int] = []

    def note(saved: Tensor) -> Tensor:
        sizes.append(saved.numel())
        return saved

    with torch.autograd.graph.saved_tensors_hooks(note, lambda saved: saved):
        for window in (None, 16):
            layer = Attention(WIDTH, heads=2, window=window)
            layer(torch.randn(1, length, WIDTH), lengths=torch.tensor([500]))
    assert 0 < max(sizes) < length * length / 8


def test_a_layer_that_sees_the_future_has_no_steps() -> None:
    layer = make(causal=False)
    assert not layer.streams
    with pytest.raises(ConfigError, match="no step form"):
        layer.initial_state(1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, "heads=3"),
        ({"heads": 8}, "heads=8"),
        ({"heads": 0}, "heads=0"),
        ({"window": 0}, "window=0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Attention(8, **options)
