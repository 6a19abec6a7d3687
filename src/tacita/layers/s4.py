"""S4: a state-space layer whose matrix is normal but for a low rank, so that it is HiPPO's own.

Gu et al., "Efficiently Modeling Long Sequences with Structured State Spaces", 2022. The kernel is found
from its discrete Fourier transform, which is a few Cauchy products. S4D drops the low rank, is faster
and nearly as good: take S4 where the memory of the past has to be exact, as in delays.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.kernels import cauchy_product, fft_convolution
from tacita.kernels.double import doubled
from tacita.kernels.lengths import enough, lengthened
from tacita.layers.base import Run, SequenceLayer, State, reverse_valid
from tacita.layers.diagonal import SLOW, pairs
from tacita.layers.discretise import log_steps
from tacita.layers.hippo import nplr
from tacita.layers.krylov import advance_by, generalised_bilinear, krylov

SLOWEST_DECAY = 1e-4
"""The window measures have modes that do not decay by themselves, and a logarithm needs a number."""


@method(
    "s4",
    title="Structured state-space layer (S4)",
    paper="https://arxiv.org/abs/2111.00396",
    year=2022,
    family="layer",
    needs=("steps",),
    summary="Mixes time by HiPPO's own memory: for delays and long dependencies that must be exact.",
    claim="Learns a delay of 128 steps by its readout alone: error 0.1% of the variance from HiPPO's "
    "matrix, 90% from random modes.",
    reuses=("fft_convolution", "cauchy_product", "hippo"),
)
class S4(SequenceLayer):
    """One system a channel, `x' = (Lambda - P P*) x + B u`, `y = 2 Re(C x) + D u`, discretised bilinearly.

    d_model: channels `H`. `Lambda`, `P` and `B` are theirs together, step size and `C` each one's own.
    d_state: state size `N` of each channel, in real numbers; 64 as in the paper.
    measure: where the system starts: HiPPO's `legs`, `legt` or `fout`.
    length: the length for which kernels are made. A shorter sequence costs as much. A longer one costs
        powers of dense matrices too, `H N^3` work: call `lengthen` where that is to last.
    dt_min, dt_max: step sizes start between them, uniform in the logarithm; a channel remembers some
        `1 / dt` steps.

    Raises `ConfigError` for an odd `d_state`, another measure or a length that is not positive. Differs
    from the paper: the measures' windows are one unit long, not two, and the imaginary part of `B` is
    not clipped; one system for all channels, which the paper's code has as an option.

    >>> layer = S4(4, d_state=8, length=16)
    >>> y, state = layer(torch.randn(2, 10, 4), return_state=True)
    >>> layer.step(torch.randn(2, 4), state)[0].shape
    torch.Size([2, 4])
    """

    tiny = {"d_state": 4, "length": 8}  # often less than there is, so that it has to be doubled
    time_invariant = True
    rescalable = True
    made_for: Tensor
    optimizer_hints = dict.fromkeys(("log_step", "log_decay", "frequency", "P", "B"), SLOW)

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 64,
        measure: Literal["legs", "legt", "fout"] = "legs",
        length: int = 1024,
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
    ) -> None:
        super().__init__()
        if measure not in ("legs", "legt", "fout"):
            raise ConfigError(f"measure={measure!r} is unknown.", remedy="Known: legs, legt, fout.")
        if length < 1:
            raise ConfigError(f"length={length} is not positive.", remedy="The default is 1024.")
        pairs(d_state)
        self.d_model = d_model
        self.length, self.measure = length, measure
        self.register_buffer("made_for", torch.tensor(length))  # so that it is saved
        modes, p, b = (torch.from_numpy(part) for part in nplr(measure, d_state)[:3])
        self.log_step = nn.Parameter(log_steps(d_model, dt_min, dt_max))  # (H,)
        self.log_decay = nn.Parameter((-modes.real).clamp_min(SLOWEST_DECAY).log().float())
        self.frequency = nn.Parameter(modes.imag.float())
        self.P = _parameter(p)  # (rank, N/2)
        self.B = _parameter(b)
        # The parameter is not C but C_tilde = C (1 - A_bar^L): no power is ever differentiated.
        self.C_tilde = _parameter(torch.randn(d_model, d_state // 2, dtype=torch.complex64))
        self.D = nn.Parameter(torch.randn(d_model))
        self._kept: tuple[list[Tensor], Tensor] | None = None
        with torch.no_grad():
            c = doubled(torch.view_as_complex(self.C_tilde))
            power = self._power(length, 1.0, exact=True)
            self.C_tilde.copy_(torch.view_as_real(c - _row_times(c, power)))

    def kernel(self, length: int, rate: float = 1.0) -> Tensor:
        """`(H, L)`: the impulse response `K_l = 2 Re(C A_bar^l B_bar)`, without the skip."""
        return self._kernels(length, rate, None)[0]

    def lengthen(self) -> None:
        """Twice the length for which kernels are made, in place: `C_tilde (1 + A_bar^L)`.

        >>> layer = S4(2, d_state=4, length=8)
        >>> layer.lengthen()
        >>> layer.length
        16
        """
        with torch.no_grad():
            c = doubled(torch.view_as_complex(self.C_tilde))
            longer = c + _row_times(c, self._power(self.length, 1.0, exact=True))
            self.C_tilde.copy_(torch.view_as_real(longer))
        self.length *= 2
        self.made_for.fill_(self.length)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self.length = int(self.made_for)

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.D.dtype)
            state = None if run.state is None else run.state["ssm"]
            kernel, begun = self._kernels(u.shape[1], run.rate, state)
            y = fft_convolution(u.mT, kernel)
            if begun is not None:
                y = y + begun
            last = {"ssm": self._last(u, run)} if run.return_state else None
            return (y.mT + self.D * u).to(x.dtype), last

    def zeros(self, batch_size: int, like: Tensor) -> State:
        shape = (batch_size, *self.C_tilde.shape[:2])
        return {"ssm": like.new_zeros(shape, dtype=like.dtype.to_complex())}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        """One step in O(N): the inverse of the bilinear rule by Woodbury's identity."""
        with torch.autocast(x.device.type, enabled=False):
            return self._advance(x, state, rate)

    def _advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        u = x.to(self.D.dtype)
        modes, p, b, step = self._system(rate)
        driven = self._forward_half(state["ssm"], rate) + step * b * u[..., None]
        inverse = 1 / (1 - modes / 2)  # of the diagonal part, (H, N/2)
        inverse_p = inverse[:, None] * p  # (H, rank, N/2)
        inner = 2 * (p.conj()[:, :, None] * inverse_p[:, None]).sum(-1).real  # (H, rank, rank)
        eye = torch.eye(p.shape[1], dtype=inner.dtype, device=inner.device)
        after = inverse * driven
        seen = 2 * (p.conj() * after[:, :, None]).sum(-1).real  # (B, H, rank)
        weights = torch.linalg.solve(eye + inner / 2, seen[..., None]).mT / 2  # (B, H, 1, rank)
        after = after - (weights.to(p.dtype) @ inverse_p).squeeze(-2)
        y = 2 * (self._readout() * after).sum(-1).real + self.D * u
        return y.to(x.dtype), {"ssm": after}

    def _system(self, rate: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """In units of a step: modes `(H, N/2)`, `P (H, rank, N/2)`, `B (N/2,)`, and steps `(H, 1)`."""
        step = self.log_step.exp()[:, None] * rate
        modes = step * torch.complex(-self.log_decay.exp(), self.frequency)
        p = step.sqrt()[:, None] * torch.view_as_complex(self.P)
        return modes, p, torch.view_as_complex(self.B), step

    def _kernels(
        self, length: int, rate: float, state: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """`(H, L)`, and with a state what follows from it without any input, `(B, H, L)`."""
        c, made_for = self._for_length(length, rate)
        modes, p, b, step = self._system(rate)
        driven = (step * b)[:, None]  # (H, 1, N/2), and the states if there are any
        if state is not None:
            driven = torch.cat([driven, self._forward_half(state, rate).transpose(0, 1)], 1)
        left, right = torch.cat([p.conj(), c[:, None]], 1), torch.cat([p, driven], 1)
        if self.measure == "fout":  # one mode hardly decays or turns by itself: terms cancel
            left, right, modes = map(doubled, (left, right, modes))
        weights = (left[:, :, None] * right[:, None]).flatten(1, 2)  # all pairs of the two
        # The roots of unity, as the bilinear rule sees them: z = 2 (1 - w) / (1 + w) = i y.
        angles = doubled(torch.arange((made_for + 1) // 2, device=step.device)) * (
            math.pi / made_for
        )
        y = (2 * torch.tan(angles)).to(modes.real)
        sums = cauchy_product(weights, modes, y)
        table = sums.view(len(modes), left.shape[1], right.shape[1], -1)
        for _ in range(
            p.shape[1]
        ):  # Woodbury's inverse, one direction of the low rank after another
            share = table[:, 1:, :1] / (1 + table[:, :1, :1])
            table = table[:, 1:, 1:] - share * table[:, :1, 1:]
        spectrum = table[:, 0] * torch.complex(torch.ones_like(y), y / 2)
        if made_for % 2 == 0:  # at -1 the two factors are infinite and zero; this is their product
            end = (c[:, None] * driven).sum(-1, keepdim=True).real
            spectrum = torch.cat([spectrum, end.to(spectrum)], -1)
        found = torch.fft.irfft(spectrum, made_for)[..., :length].to(step)
        return found[:, 0], None if state is None else found[:, 1:].transpose(0, 1)

    def _for_length(self, length: int, rate: float) -> tuple[Tensor, int]:
        """`C_tilde (H, N/2)` for kernels of some length that is enough, and that length."""
        c, made_for = torch.view_as_complex(self.C_tilde), self.length
        if rate != 1.0:
            c = self._readout()
            c = c - _row_times(c, self._power(made_for, rate))
        while made_for < enough(length):
            c = c + _row_times(c, self._power(made_for, rate))
            made_for *= 2
        return c, made_for

    def _forward_half(self, state: Tensor, rate: float) -> Tensor:
        """`(1 + A/2) x` for states `(B, H, N/2)`: the half of the bilinear rule without an inverse."""
        modes, p, _, _ = self._system(rate)
        seen = (p.conj() * state[:, :, None]).sum(-1).real  # half of what both of a pair say
        return (1 + modes / 2) * state - (seen.to(p.dtype)[:, :, None] @ p).squeeze(-2)

    def _last(self, u: Tensor, run: Run) -> Tensor:
        """The state after the last valid step, `(B, H, N/2)`, from dense matrices of `sqrt(L)` powers."""
        A, B = self._dense(run.rate)
        length, longest = u.shape[1], enough(u.shape[1])
        width = max(1, round(math.sqrt(longest)))
        recent = lengthened(reverse_valid(u, run.lengths).mT, 2)  # the last valid step first
        recent = nn.functional.pad(recent, (0, -longest % width))
        recent = recent.view(*recent.shape[:2], recent.shape[2] // width, width)
        table = krylov(A, B, width)  # (H, N, width)
        pieces = torch.einsum("bhrw,hnw->rbhn", recent, table)
        power = _matrix_power(A, width)
        last = pieces[-1]
        for piece in reversed(pieces[:-1].unbind()):
            last = piece + (power @ last[..., None]).squeeze(-1)
        if run.state is not None:
            begun = torch.cat([run.state["ssm"].real, run.state["ssm"].imag], -1)
            steps = torch.full_like(begun[:, 0, 0], length, dtype=torch.int64)
            gone = steps if run.lengths is None else run.lengths
            last = last + advance_by(A, begun, gone, length)
        return torch.complex(*last.chunk(2, -1))

    def _dense(self, rate: float, *, exact: bool = False) -> tuple[Tensor, Tensor]:
        """`A_bar (H, N, N)` and `B_bar (H, N)` of real and imaginary parts: `Re x` above `Im x`."""
        modes, p, b, step = self._system(rate)
        a, w = torch.diag_embed(modes.real), torch.diag_embed(modes.imag)
        turning = torch.cat([torch.cat([a, -w], 2), torch.cat([w, a], 2)], 1)
        rows = torch.cat([p.real, p.imag], 2)
        A = turning - 2 * rows.mT @ rows
        B = step * torch.cat([b.real, b.imag])
        if exact:
            A, B = doubled(A), doubled(B)
        return generalised_bilinear(A, B, torch.ones_like(B[:, 0]))

    def _power(self, exponent: int, rate: float, *, exact: bool = False) -> Tensor:
        return _matrix_power(self._dense(rate, exact=exact)[0], exponent)

    def _readout(self) -> Tensor:
        """`C (H, N/2)` itself, out of `C_tilde`; kept between steps while nothing is learned."""
        # By value: an optimizer need not tell a tensor that it changed it, and the fused one does not.
        stands = [p.detach() for name, p in self.named_parameters() if name != "D"]
        if not torch.is_grad_enabled() and self._kept is not None:
            before, c = self._kept
            if all(_same(own, old) for own, old in zip(stands, before, strict=True)):
                return c
        # In double precision, since 1 - A_bar^L is nearly singular where nothing decays over L steps.
        c = doubled(torch.view_as_complex(self.C_tilde))
        power = self._power(self.length, 1.0, exact=True)
        rest = torch.eye(power.shape[-1], dtype=power.dtype, device=power.device) - power
        row = torch.cat([c.real, -c.imag], -1)
        real, minus = torch.linalg.solve(rest.mT, row).chunk(2, -1)
        c = torch.complex(real, -minus).to(torch.view_as_complex(self.C_tilde))
        if not torch.is_grad_enabled():
            self._kept = [own.clone() for own in stands], c
        return c


def _same(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and a.device == b.device and torch.equal(a, b)


def _matrix_power(matrix: Tensor, exponent: int) -> Tensor:
    """By squaring, differentiable: `exponent` from 1 up."""
    power: Tensor = torch.linalg.matrix_power(matrix, exponent)
    return power


def _row_times(c: Tensor, matrix: Tensor) -> Tensor:
    """`C M` of `(H, N/2)` with a real matrix `(H, N, N)` that acts on real and imaginary parts."""
    row = torch.cat([c.real, -c.imag], -1)[:, None]  # 2 Re(C x), but for the 2
    real, minus = (row.to(matrix.dtype) @ matrix).squeeze(1).chunk(2, -1)
    return torch.complex(real, -minus)


def _parameter(value: Tensor) -> nn.Parameter:
    """Complex numbers as pairs of real ones."""
    return nn.Parameter(torch.view_as_real(value.to(torch.complex64)).clone())
