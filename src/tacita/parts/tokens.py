"""Token numbers, and the table of their vectors."""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.errors import DataError


def padded(vocabulary: int) -> int:
    """Rows of the table of token vectors: up to a multiple of 8, which matrix units are fast at.

    >>> padded(50277)
    50280
    """
    return -(-vocabulary // 8) * 8


def check_ids(ids: Tensor, vocabulary: int) -> None:
    """Raise `DataError` for numbers that are no tokens; on a GPU values are not looked at."""
    if ids.is_floating_point() or ids.dtype == torch.bool:
        raise DataError(f"token numbers are whole numbers, not {ids.dtype}.")
    if ids.numel() == 0 or ids.device.type != "cpu" or torch.compiler.is_compiling():
        return
    least, most = int(ids.min()), int(ids.max())
    if least < 0 or most >= vocabulary:
        raise DataError(
            f"token numbers run from {least} to {most}, and the vocabulary has {vocabulary}.",
            remedy="Tokenise with what the model was made for.",
        )
