"""LRU: a linear recurrent network with complex diagonal states that start on a ring in the unit disc.

Orvieto et al., "Resurrecting Recurrent Neural Networks for Long Sequences", 2023:
`x_t = lambda x_{t-1} + gamma B u_t`, `y_t = Re(C x_t) + D u_t`. No continuous time and no convolution: one
scan over `N` states that all channels share, so it mixes channels and can be reset anywhere.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.errors import ConfigError
from tacita.layers.diagonal import SLOW
from tacita.layers.shared_state import SharedStateSSM


@method(
    "lru",
    title="Linear recurrent unit (LRU)",
    paper="https://arxiv.org/abs/2303.06349",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="A recurrent layer that is a scan in training and one small step in use, with resets anywhere.",
    reuses=("linear_scan",),
)
class LRU(SharedStateSSM):
    """`N` complex states, `lambda = exp(-exp(nu) + i exp(theta))`, so `|lambda| < 1` whatever is learned.

    d_model: channels.
    d_state: complex states; 128 is the least of the paper's.
    r_min, r_max: states start uniformly on the ring between these radii, 0 and 1 in the paper's code;
        for long memory 0.9 and 0.999.
    max_phase: phases start between 0 and it, the full circle in the paper; less for very long sequences.

    `gamma` starts at `sqrt(1 - |lambda|^2)`: white noise then keeps its power in every state. Raises
    `ConfigError` for a ring that is none.

    >>> layer = LRU(4, d_state=8)
    >>> y, state = layer(torch.randn(2, 10, 4), return_state=True)
    >>> state["ssm"].shape
    torch.Size([2, 8])
    """

    tiny = {"d_state": 4}
    optimizer_hints = dict.fromkeys(("nu", "theta", "log_gamma", "B"), SLOW)

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 128,
        r_min: float = 0.0,
        r_max: float = 1.0,
        max_phase: float = 2 * math.pi,
    ) -> None:
        super().__init__()
        if d_state < 1:
            raise ConfigError(f"d_state={d_state} is not positive.", remedy="The default is 128.")
        if not 0 <= r_min < r_max <= 1 or not 0 < max_phase <= 2 * math.pi:
            raise ConfigError(
                f"r_min={r_min}, r_max={r_max} and max_phase={max_phase} are no ring in the unit disc.",
                remedy="Give 0 <= r_min < r_max <= 1 and a phase up to 2 pi.",
            )
        self.d_model = d_model
        # Drawn in double precision and off the ends, where the logarithms are infinite.
        place = torch.rand(d_state, dtype=torch.float64).clamp(1e-6, 1 - 1e-6)
        turn = torch.rand(d_state, dtype=torch.float64).clamp(1e-6, 1)
        power = place * (r_max**2 - r_min**2) + r_min**2  # |lambda|^2, uniform: even over the area
        self.nu = nn.Parameter((-power.log() / 2).log().float())
        self.theta = nn.Parameter((max_phase * turn).log().float())
        self.log_gamma = nn.Parameter((1 - power).log().float() / 2)
        self.B = nn.Parameter(torch.randn(d_state, 2, d_model) / math.sqrt(2 * d_model))
        self.C = nn.Parameter(torch.randn(d_model, d_state, 2) / math.sqrt(d_state))
        self.D = nn.Parameter(torch.randn(d_model))

    def eigenvalues(self) -> Tensor:
        """`(N,)` complex: `lambda`."""
        return torch.polar((-self.nu.exp()).exp(), self.theta.exp())

    def system(self, rate: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        write = torch.complex(self.B[:, 0], self.B[:, 1]) * self.log_gamma.exp()[:, None]
        return self.eigenvalues(), write, torch.view_as_complex(self.C)
