"""One diagonal state-space system for all channels: what S5 and its relatives start from.

`x' = Lambda x + B u`, `y = 2 Re(C x) + D u` with `P` complex states, one of each conjugate pair.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tacita.errors import ConfigError
from tacita.layers.diagonal import SLOW
from tacita.layers.discretise import Rule, discretise, log_steps
from tacita.layers.shared_state import SharedStateSSM

LEAST_DECAY = 1e-4
"""How far from growth an eigenvalue is kept: the real part is at most its negative."""


class MultiInputSSM(SharedStateSSM):
    """`P` complex states shared by `H` channels; subclasses choose the system that they start from.

    modes, vectors, inverse: one block of it, diagonalised: `(P/J,)` eigenvalues, one of each conjugate
        pair, the eigenvectors `(N/J, P/J)`, which make a state of the complex numbers, and those rows
        `(P/J, N/J)` of their inverse. The `J` blocks are alike.
    clip: whether real parts are kept negative, without which long sequences may explode in training.

    Shapes: `B (P, H)`, `C (H, P)`, both stored as pairs of real numbers; a step size for each state.
    Random real inputs and complex outputs of the whole state, of `N` real numbers, come first, as if
    the system was not diagonal. Raises `ConfigError` for less than one block.
    """

    rescalable = True
    optimizer_hints = dict.fromkeys(("modes", "log_step", "B"), SLOW)

    def __init__(
        self,
        d_model: int,
        modes: NDArray[np.complex128],
        vectors: NDArray[np.complex128],
        inverse: NDArray[np.complex128],
        *,
        blocks: int,
        discretisation: Rule,
        dt_min: float,
        dt_max: float,
        clip: bool,
    ) -> None:
        super().__init__()
        if discretisation not in ("zoh", "bilinear"):
            raise ConfigError(
                f"discretisation={discretisation!r} is unknown.", remedy="Known: zoh, bilinear."
            )
        self.d_model = d_model
        self.discretisation = discretisation
        self.clip = clip
        size = len(vectors)
        deviation = (blocks * size) ** -0.5
        entering = deviation * torch.randn(blocks, size, d_model)
        leaving = deviation * torch.randn(d_model, blocks, size, 2)
        eigen, v, w = (
            torch.from_numpy(part).to(torch.complex64) for part in (modes, vectors, inverse)
        )
        B = (w @ entering.to(w.dtype)).flatten(0, 1)  # V^-1 B, block by block
        C = (torch.view_as_complex(leaving) @ v).flatten(1)  # C V
        self.modes = nn.Parameter(torch.view_as_real(eigen.repeat(blocks)).clone())  # (P, 2)
        self.log_step = nn.Parameter(log_steps(blocks * len(modes), dt_min, dt_max))  # (P,)
        self.B = nn.Parameter(torch.view_as_real(B).clone())  # (P, H, 2)
        self.C = nn.Parameter(torch.view_as_real(C).clone())  # (H, P, 2)
        self.D = nn.Parameter(torch.randn(d_model))

    def discrete(self, rate: float = 1.0) -> tuple[Tensor, Tensor]:
        """`A_bar (P,)` and `B_bar (P, H)`, complex."""
        decay, frequency = self.modes.unbind(1)
        if self.clip:
            decay = decay.clamp(max=-LEAST_DECAY)
        step = self.log_step.exp() * rate
        exponents, scale = discretise(
            step * torch.complex(decay, frequency), step, self.discretisation
        )
        return exponents.exp(), scale[:, None] * torch.view_as_complex(self.B)

    def system(self, rate: float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
        """With `2 C`: the conjugate modes say the same again."""
        return *self.discrete(rate), 2 * torch.view_as_complex(self.C)


def block_size(d_state: int, blocks: int) -> int:
    """How many real numbers of the state one of `blocks` has; `ConfigError` if that is no even number.

    >>> block_size(64, 4)
    16
    """
    if blocks < 1 or d_state < 2 or d_state % (2 * blocks):
        raise ConfigError(
            f"d_state={d_state} does not make blocks={blocks} of an even size.",
            remedy="Choose a d_state that is a multiple of twice the blocks, such as 64 with 4.",
        )
    return d_state // blocks
