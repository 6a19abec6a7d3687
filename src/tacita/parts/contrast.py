"""Contrast with chosen pairs: which rows attract and which repel is said by two boolean masks.

One function covers SimCLR, supervised contrast, and contrast between parts of aligned volumes: they
differ in the masks alone. The builders here make those of Chaitanya et al., 2020.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from tacita.errors import ConfigError
from tacita.parts.similarity import unit

_NOTHING = -1e30
"""Stands for a logit that is not there: minus infinity would give a row without negatives a gradient
of NaN."""


def masked_ntxent(z: Tensor, positive: Tensor, negative: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross-entropy over given pairs, in float32 as every softmax.

    `l(a, p) = -log(e(a, p) / (e(a, p) + sum_n e(a, n)))` with `e(a, b) = exp(cos(z_a, z_b) / temperature)`
    and the sum over a's negatives; the mean over all ordered pairs of `positive`. With masks that are
    symmetric, that is half of `l(a, p) + l(p, a)` a pair.

    Shapes: `z (..., M, D)`; `positive, negative (M, M)` bool, row a has the positives and negatives of a.
    Raises `ConfigError` where there is no positive pair at all.

    >>> z, pairs = torch.ones(4, 3), view_pairs(2)
    >>> torch.isclose(masked_ntxent(z, *pairs, 0.5), torch.tensor(3.0).log()).item()  # one and two
    True
    """
    if not bool(positive.any()):
        raise ConfigError(
            "There is no positive pair to attract.", remedy="Give views, or samples that match."
        )
    z = unit(z.flatten(0, -2)).view(z.shape)
    with torch.autocast(z.device.type, enabled=False):
        logits = z @ z.transpose(-2, -1) / temperature  # (..., M, M)
        against = logits.masked_fill(~negative, _NOTHING).logsumexp(-1, keepdim=True)
        cost = functional.softplus(against - logits)
    return cost[..., positive].mean()


def view_pairs(count: int, device: torch.device | None = None) -> tuple[Tensor, Tensor]:
    """SimCLR's masks for `count` samples, first one view of all, then another: `(2N, 2N)` each.

    >>> positive, negative = view_pairs(2)
    >>> positive.int().tolist()[0], negative.int().tolist()[0]
    ([0, 0, 1, 0], [0, 1, 0, 1])
    """
    itself = torch.eye(2 * count, dtype=torch.bool, device=device)
    positive = itself.roll(count, 1)
    return positive, ~(itself | positive)


def partition_pairs(
    partition: Tensor, volume: Tensor, kind: Tensor, *, across: bool
) -> tuple[Tensor, Tensor]:
    """Masks for slices of aligned volumes: images of other partitions repel, and only they.

    Images of one slice (the same partition and volume) attract. With `across` those of one partition
    and one kind attract from volume to volume too: originals each other, augmented ones each other.
    Other images of the same partition are left out: they are likely to show the same anatomy.

    Shapes: `partition`, `volume` and `kind (M,)` int64; the masks `(M, M)`.

    >>> positive, negative = partition_pairs(
    ...     torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 0]), torch.tensor([0, 1, 0, 0]), across=True
    ... )
    >>> positive.int().tolist()[0], negative.int().tolist()[0]
    ([0, 1, 1, 0], [0, 0, 0, 1])
    """
    same_partition = partition[:, None] == partition
    same_volume = volume[:, None] == volume
    positive = same_partition & same_volume
    if across:
        positive = positive | (same_partition & (kind[:, None] == kind))
    positive = positive & ~torch.eye(len(partition), dtype=torch.bool, device=partition.device)
    return positive, ~same_partition
