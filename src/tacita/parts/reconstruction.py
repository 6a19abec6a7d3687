"""What methods that reconstruct hidden tokens share: which numbers count, and the mean over them."""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.data.batch import Batch
from tacita.encoder import TokenEncoder
from tacita.errors import ConfigError
from tacita.processes import mean_of


def require_ratio(ratio: float, default: float) -> None:
    """Refuse a share of hidden tokens that hides nothing or everything. Raises `ConfigError`."""
    if not 0 < ratio < 1:
        raise ConfigError(
            f"mask_ratio={ratio} is not between 0 and 1.", remedy=f"The default here is {default}."
        )


def data_weights(encoder: TokenEncoder, batch: Batch, patches: Tensor) -> Tensor:
    """`(B, T, P)` of 0 and 1: the numbers of the patches that are data, not padding."""
    weights = encoder.patch_weights()
    weights = torch.ones_like(patches) if weights is None else weights.to(patches) + 0 * patches
    if batch.mask is None:
        return weights
    return weights * encoder.patches(batch.mask[:, :, None].expand_as(batch.x).to(patches))


def hidden_mean(errors: Tensor, hidden: Tensor, weights: Tensor) -> Tensor:
    """Mean over the `hidden (B, T)` tokens of each one's mean of `errors (B, T, P)` by `weights (B, T, P)`.

    Zero where no token is hidden, with a gradient of zero.

    >>> errors = torch.tensor([[[1.0, 3.0], [9.0, 9.0]]])
    >>> hidden_mean(errors, torch.tensor([[True, False]]), torch.ones(1, 2, 2)).item()
    2.0
    """
    of_token = (errors * weights).sum(2) / weights.sum(2).clamp_min(1)  # (B, T)
    return mean_of((of_token * hidden).sum(), hidden.sum())
