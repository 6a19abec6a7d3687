"""S4ND: state spaces over several axes, such as images, with one kernel an axis multiplied together.

Nguyen et al., "S4ND: Modeling Images and Videos as Multidimensional Signals Using State Spaces", 2022. The
kernel is continuous in every axis, so a picture sampled more finely is the same signal at another rate.
A transform over all axes; the kernels themselves cost as much as those of one axis after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from tacita.errors import ConfigError
from tacita.kernels import vandermonde_product
from tacita.kernels.convolution import fast_length
from tacita.layers.diagonal import DiagonalModes, pairs
from tacita.layers.discretise import Rule, log_steps
from tacita.layers.precision import SinglePrecision
from tacita.layers.s4d import Start, starting_modes


class S4ND(SinglePrecision):
    """`(B, *sizes, D)` to the same: a convolution with `K(t_1, t_2, ...) = sum_r K_r1(t_1) K_r2(t_2) ...`.

    d_model: channels, each with kernels of its own.
    axes: how many there are: 2 for images, 3 for video.
    rank: products of kernels that are summed; 1 in the paper.
    d_state, start, discretisation, dt_min, dt_max: the state space of each axis and direction, as in S4D;
        the paper's steps are about 2 over the side of an image.
    band_limit: modes faster than this share of what the training grid can tell apart are silent (alpha
        in the paper); None keeps all, and another resolution then meets modes that it never trained.

    Every axis has a kernel of either direction, and that of the step itself in the forward one only.
    Raises `ConfigError` for an input of other axes, or rates that are not one an axis.

    Differs from the paper: the directions of an axis are summed before the product, so that four
    quadrants share two kernels an axis.

    >>> S4ND(4, d_state=8)(torch.zeros(2, 6, 7, 4)).shape
    torch.Size([2, 6, 7, 4])
    """

    def __init__(
        self,
        d_model: int,
        *,
        axes: int = 2,
        rank: int = 1,
        d_state: int = 64,
        start: Start = "legs",
        discretisation: Rule = "zoh",
        dt_min: float = 0.1,
        dt_max: float = 1.0,
        band_limit: float | None = None,
    ) -> None:
        super().__init__()
        if axes < 1 or rank < 1:
            raise ConfigError(f"axes={axes} and rank={rank} must be positive.")
        self.d_model, self.axes, self.rank = d_model, axes, rank
        modes, b = starting_modes(start, d_state)
        shape = (2 * rank * d_model, pairs(d_state))
        self.lines = nn.ModuleList(
            DiagonalModes(
                modes.expand(shape),
                b.expand(shape),
                torch.randn(shape, dtype=torch.complex64),
                log_steps(shape[0], dt_min, dt_max),
                discretisation=discretisation,
                band_limit=band_limit,
            )
            for _ in range(axes)
        )
        self.D = nn.Parameter(torch.randn(d_model))

    def kernels(self, sizes: Sequence[int], rates: Sequence[float]) -> list[Tensor]:
        """`(rank, D, 2 n - 1)` for each axis of size `n`: the distance 0 stands in the middle."""
        both = []
        for line, size, rate in zip(self.lines, sizes, rates, strict=True):
            assert isinstance(line, DiagonalModes)
            exponents, b, c = line.system(rate)
            kernel = vandermonde_product(c * b, exponents, size)
            ahead, back = kernel.view(2, self.rank, self.d_model, size)
            both.append(torch.cat([back[..., : size - 1].flip(-1), ahead], -1))
        return both

    def forward(self, x: Tensor, *, rates: Sequence[float] | None = None) -> Tensor:
        """The convolution and a skip.

        rates: for each axis the distance of two samples as a multiple of that in training, all 1 by
            default.
        """
        if x.ndim != self.axes + 2 or x.shape[-1] != self.d_model or not prod(x.shape[1:-1]):
            raise ConfigError(
                f"S4ND takes (B, {self.axes} sizes, {self.d_model}), not {tuple(x.shape)}."
            )
        rates = (1.0,) * self.axes if rates is None else rates
        if len(rates) != self.axes or not all(0 < rate < float("inf") for rate in rates):
            raise ConfigError(
                f"rates={tuple(rates)} are not {self.axes} positive numbers, one an axis."
            )
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            y = self._convolve(u.movedim(-1, 1), self.kernels(x.shape[1:-1], rates))
            return (y.movedim(1, -1) + self.D * u).to(x.dtype)

    def _convolve(self, u: Tensor, kernels: Sequence[Tensor]) -> Tensor:
        """`(B, D, *sizes)`: one transform of all axes; that of the kernel is a product of short ones."""
        sizes = u.shape[2:]
        # A kernel is 2 n - 1 long, and what wraps around from its ends meets no kept position.
        lengths = [fast_length(2 * n - 1) for n in sizes]
        response = torch.ones(1, dtype=u.dtype, device=u.device)
        for axis, (kernel, length) in enumerate(zip(kernels, lengths, strict=True)):
            last = axis == self.axes - 1
            line = torch.fft.rfft(kernel, length) if last else torch.fft.fft(kernel, length)
            shape = [1] * self.axes
            shape[axis] = line.shape[-1]
            response = response * line.view(self.rank, self.d_model, *shape)
        dims = list(range(2, u.ndim))
        spectrum = torch.fft.rfftn(u, lengths, dim=dims)
        y = torch.fft.irfftn(spectrum * response.sum(0), lengths, dim=dims)
        for dim, size in enumerate(sizes, start=2):
            y = y.narrow(dim, size - 1, size)
        return y
