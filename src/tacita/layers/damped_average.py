"""Damped exponential moving averages of each channel: what Mega and SeqBoat smooth their input with.

Ma et al., "Mega: Moving Average Equipped Gated Attention", ICLR 2023, section 3.1. Several averages a
channel, each with its own rate and damping, are a diagonal state space with real states: in parallel a
convolution by Fourier transform, `O(D L log L)`; a step is `O(D N)`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tacita.kernels import fft_convolution, linear_scan, vandermonde_product, vandermonde_transpose
from tacita.layers.base import Run, SequenceLayer, State, last_valid, reverse_valid


class DampedAverage(SequenceLayer):
    """`s_t = alpha beta x_t + (1 - alpha delta) s_{t-1}`, `y_t = eta s_t / sqrt(N) + omega x_t`.

    d_model: channels.
    d_state: averages of each channel, `N`; 16 in both papers.
    causal: whether a step sees itself and the past only; otherwise there are as many averages again that
        run from the end, both count the step itself, and there is no step form.

    The state is the averages, `(B, D, N)`.

    >>> DampedAverage(8, 4)(torch.randn(2, 10, 8)).shape
    torch.Size([2, 10, 8])
    """

    time_invariant = True
    optimizer_hints = {
        name: {"weight_decay": 0.0} for name in ("rise_logit", "damping_logit", "spread", "readout")
    }

    def __init__(self, d_model: int, d_state: int = 16, *, causal: bool = True) -> None:
        super().__init__()
        self.d_model = d_model
        self.causal = self.streams = self.resettable = causal
        rows = d_model if causal else 2 * d_model
        signs = torch.tensor([1.0, -1.0]).repeat(d_state)[:d_state]
        self.rise_logit = nn.Parameter(0.2 * torch.randn(rows, d_state))  # of alpha
        self.damping_logit = nn.Parameter(0.2 * torch.randn(rows, d_state))  # of delta
        self.spread = nn.Parameter(signs + 0.02 * torch.randn(rows, d_state))  # beta
        self.readout = nn.Parameter(torch.randn(rows, d_state))  # eta
        self.skip = nn.Parameter(torch.randn(d_model))  # omega

    def system(self) -> tuple[Tensor, Tensor, Tensor]:
        """What a state keeps, `1 - alpha delta`, takes in and gives out: each `(D, N)`."""
        rise = torch.sigmoid(self.rise_logit)
        keep = 1 - rise * torch.sigmoid(self.damping_logit)
        return keep, rise * self.spread, self.readout * keep.shape[1] ** -0.5

    def mix(self, x: Tensor, run: Run) -> tuple[Tensor, State | None]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.skip.dtype)
            if not self.causal:
                y, last = self._both_ways(u), None
            elif run.resets is None:
                y, last = self._convolve(u, run)
            else:
                y, last = self._scan(u, run)
            return (y + self.skip * u).to(x.dtype), last

    def _both_ways(self, u: Tensor) -> Tensor:
        """Both directions as channels of one convolution; padding is zeros, at whichever end."""
        keep, enter, leave = self.system()
        exponents = _complex(keep.log())
        kernel = vandermonde_product(_complex(enter * leave), exponents, u.shape[1])
        both = fft_convolution(torch.cat([u, u.flip(1)], 2).mT, kernel).mT
        return both[..., : self.d_model] + both[..., self.d_model :].flip(1)

    def _convolve(self, u: Tensor, run: Run) -> tuple[Tensor, State | None]:
        keep, enter, leave = self.system()
        exponents, length = _complex(keep.log()), u.shape[1]
        y = fft_convolution(u.mT, vandermonde_product(_complex(enter * leave), exponents, length))
        if run.state is not None:  # what the past still says
            y = y + vandermonde_product(
                _complex(leave * keep * run.state["averages"]), exponents, length
            )
        if not run.return_state:
            return y.mT, None
        last = enter * vandermonde_transpose(reverse_valid(u, run.lengths).mT, exponents).real
        if run.state is not None:
            gone = length if run.lengths is None else run.lengths[:, None, None]
            last = last + keep**gone * run.state["averages"]
        return y.mT, {"averages": last}

    def _scan(self, u: Tensor, run: Run) -> tuple[Tensor, State | None]:
        """The averages themselves, `(B, L, D N)`: dearer, and they can be erased on the way."""
        keep, enter, leave = self.system()
        begun = (run.state or self.zeros(u.shape[0], u))["averages"]
        driven = (u[..., None] * enter).flatten(2)
        states = linear_scan(keep.flatten(), driven, begun.flatten(1), resets=run.resets)
        states = states.view(*u.shape, keep.shape[1])
        y = (states * leave).sum(-1)
        if not run.return_state:
            return y, None
        return y, {"averages": last_valid(states, begun, run.lengths)}

    def zeros(self, batch_size: int, like: Tensor) -> State:
        return {"averages": like.new_zeros(batch_size, *self.readout.shape)}

    def advance(self, x: Tensor, state: State, rate: float) -> tuple[Tensor, State]:
        with torch.autocast(x.device.type, enabled=False):
            u = x.to(self.skip.dtype)
            keep, enter, leave = self.system()
            averages = enter * u[..., None] + keep * state["averages"]
            y = (leave * averages).sum(-1) + self.skip * u
            return y.to(x.dtype), {"averages": averages}


def _complex(real: Tensor) -> Tensor:
    return torch.complex(real, torch.zeros_like(real))
