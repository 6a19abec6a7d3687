"""The kernel put together by hand, piece by piece."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.errors import ConfigError
from tacita.layers.sgconv import SGConv
from tests.helpers import assert_close


def interpolated(piece: np.ndarray, factor: int) -> np.ndarray:
    """Values between the centres of `factor` times as many places, level beyond the outer centres."""
    places = (np.arange(len(piece) * factor) + 0.5) / factor - 0.5
    return np.interp(places, np.arange(len(piece)), piece)


def test_the_kernel_is_pieces_of_doubling_length_and_halving_strength() -> None:
    torch.manual_seed(0)
    layer = SGConv(3, max_length=29, piece=4).double()
    assert layer.pieces.shape == (4, 1, 3, 4)  # 4 + 4 + 8 + 16 = 32 taps for 29
    for channel in range(3):
        pieces = layer.pieces[:, 0, channel].detach().numpy()
        scales = [
            0.5**i * interpolated(w, f)
            for i, (w, f) in enumerate(zip(pieces, (1, 1, 2, 4), strict=True))
        ]
        kernel = np.concatenate(scales)[:29]
        kernel /= np.linalg.norm(kernel)
        torch.testing.assert_close(
            layer.taps()[0, channel], torch.from_numpy(kernel), rtol=1e-5, atol=1e-7
        )


@pytest.mark.parametrize("length", [1, 4, 5, 64, 100])
def test_it_starts_with_norm_1_whatever_the_length_and_the_norm_may_then_change(
    length: int,
) -> None:
    torch.manual_seed(0)
    layer = SGConv(3, max_length=length, piece=4, channels=2)
    assert layer.taps().shape == (2, 3, length)
    assert_close(layer.taps().norm(dim=-1), torch.ones(2, 3))
    with torch.no_grad():
        layer.pieces.mul_(3)
    assert_close(layer.taps().norm(dim=-1), torch.full((2, 3), 3.0))


def test_parameters_grow_with_the_logarithm_of_the_length() -> None:
    counts = [SGConv(1, max_length=n, piece=8).pieces.numel() for n in (8, 16, 32, 1024)]
    assert counts == [8, 16, 24, 64]


@pytest.mark.parametrize("options", [{"piece": 0}, {"decay": 0.0}, {"max_length": 0}])
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="must be"):
        SGConv(4, **options)
