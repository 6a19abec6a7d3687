"""S5-PTD: S5 that starts from HiPPO's whole system, perturbed a little, instead of from a part of it.

Yu et al., "Robustifying State-space Models for Long Sequences via Approximate Diagonalization", 2024.
"""

from __future__ import annotations

from tacita.catalog.cards import method
from tacita.layers.discretise import Rule
from tacita.layers.multi_input import MultiInputSSM, block_size
from tacita.layers.perturb import perturbed_legs


@method(
    "s5-ptd",
    title="Simplified state-space layer, perturbed then diagonalised (S5-PTD)",
    paper="https://arxiv.org/abs/2310.01698",
    year=2024,
    family="layer",
    needs=("steps",),
    summary="S5 with a start that is close to HiPPO's whole system, and resets as in S5.",
    reuses=("linear_scan", "hippo"),
)
class S5PTD(MultiInputSSM):
    """A system with many inputs and outputs that starts next to HiPPO's: `x' = Lambda x + B u`, as S5.

    d_model: channels.
    d_state: size of the state that all channels share, in real numbers; 64.
    perturbation: size of the perturbation as a share of the matrix; 0.01, as in `S4PTD`.
    blocks: how many copies of the perturbed matrix the eigenvalues start from; 1.
    discretisation: `zoh` or `bilinear`.
    dt_min, dt_max: step sizes start between them, uniform in the logarithm, one a state.
    clip: whether real parts of eigenvalues are kept below -0.0001.

    The first layer of a block size solves for the perturbation, a second or two for 64. Raises
    `ConfigError` as `S5` and `S4PTD` do, and differs from the papers as these do.

    >>> import torch
    >>> layer = S5PTD(4, d_state=8)
    >>> layer(torch.randn(2, 10, 4)).shape
    torch.Size([2, 10, 4])
    """

    tiny = {"d_state": 4}

    def __init__(
        self,
        d_model: int,
        *,
        d_state: int = 64,
        perturbation: float = 1e-2,
        blocks: int = 1,
        discretisation: Rule = "zoh",
        dt_min: float = 1e-3,
        dt_max: float = 0.1,
        clip: bool = True,
    ) -> None:
        near = perturbed_legs(block_size(d_state, blocks), perturbation)
        super().__init__(
            d_model,
            near.modes,
            near.vectors * near.weights,
            near.inverse,
            blocks=blocks,
            discretisation=discretisation,
            dt_min=dt_min,
            dt_max=dt_max,
            clip=clip,
        )
