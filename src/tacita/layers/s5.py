"""S5: one state-space system for all channels, run by a scan that can erase the state on the way.

Smith et al., "Simplified State Space Layers for Sequence Modeling", 2023. Where episodes follow each
other in one sequence, as in reinforcement learning and in logs of sessions, a flag at the first step
of each erases the state, and training stays parallel: Lu et al., "Structured State Space Models for
In-Context Reinforcement Learning", 2023: `x_t = (1 - d_t) A_bar x_{t-1} + B_bar u_t`.
"""

from __future__ import annotations

from tacita.catalog.cards import method
from tacita.layers.discretise import Rule
from tacita.layers.hippo import nplr
from tacita.layers.multi_input import MultiInputSSM, block_size


@method(
    "s5",
    title="Simplified state-space layer with resets (S5)",
    paper="https://arxiv.org/abs/2303.03982",
    year=2023,
    family="layer",
    needs=("steps",),
    summary="One state for all channels, in parallel even where the state is erased between episodes.",
    reuses=("linear_scan", "hippo"),
    claim="Resets in the scan are exact and train many times as fast as a recurrent loop; but among other "
    "cards it recalls an episode's first less well than a GRU in 400 steps (62% to 93% against 100%), so "
    "the claim as a whole fails here.",
)
class S5(MultiInputSSM):
    """A system with many inputs and outputs: `y = 2 Re(C x) + D u`, `x' = Lambda x + B u`, discretised.

    d_model: channels.
    d_state: size of the state that all channels share, in real numbers; 64.
    blocks: how many copies of the normal part of HiPPO's matrix the eigenvalues start from; 1.
    discretisation: `zoh`, as in the paper, or `bilinear`.
    dt_min, dt_max: step sizes start between them, uniform in the logarithm, one a state.
    clip: whether real parts of eigenvalues are kept below -0.0001.

    Memory in training is that of `L P` complex states. Raises `ConfigError` for a `d_state` that does
    not make blocks of even size. Differs from the paper: `clip` is on, which its code does only for
    unbounded sequences: at first it changes nothing, and what is trained can be run for any length.

    >>> import torch
    >>> layer = S5(4, d_state=8)
    >>> resets = torch.tensor([[False, False, True, False, False]])
    >>> y, state = layer(torch.randn(1, 5, 4), resets=resets, return_state=True)
    >>> layer.step(torch.randn(1, 4), state)[0].shape
    torch.Size([1, 4])
    """

    tiny = {"d_state": 4}

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 64,
        blocks: int = 1,
        discretisation: Rule = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        clip: bool = True,
    ) -> None:
        modes, _, _, vectors = nplr("legs", block_size(d_state, blocks))
        super().__init__(
            d_model,
            modes,
            vectors,
            vectors.conj().T.copy(),  # of a normal matrix
            blocks=blocks,
            discretisation=discretisation,
            dt_min=dt_min,
            dt_max=dt_max,
            clip=clip,
        )
