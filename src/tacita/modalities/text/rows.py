"""Texts as rows of numbers: how often each token occurs, weighted by how few texts have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from tacita.values import Ragged, Values, as_tensor, full

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

TOPICS = 50


def counts(samples: Values, vocabulary: int) -> csr_matrix:
    """`(N, vocabulary)` sparse: how often each text has each token."""
    from scipy.sparse import csr_matrix

    ragged = samples if isinstance(samples, Ragged) else full(as_tensor(samples))
    tokens = ragged.flat.long().numpy()
    ends = np.concatenate([[0], ragged.lengths.cumsum(0).numpy()])
    ones = np.ones(len(tokens), np.float64)
    # Built from a copy: repeated tokens are summed in place.
    found = csr_matrix((ones, tokens.copy(), ends), shape=(len(ragged), vocabulary))
    found.sum_duplicates()
    return found


def topics(samples: Values, vocabulary: int, size: int = TOPICS) -> Tensor:
    """`(N, size)` at most: the first directions of TF-IDF, latent semantic analysis (Deerwester, 1990)."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer

    found: Any = counts(samples, vocabulary)
    most = min(size, vocabulary - 1, len(samples))
    if most < 2:
        return torch.from_numpy(found.toarray()).float()
    weighted = TfidfTransformer(sublinear_tf=True).fit_transform(found)
    return torch.from_numpy(TruncatedSVD(most, random_state=0).fit_transform(weighted)).float()


def telling(samples: Values, classes: Tensor, vocabulary: int, most: int) -> dict[int, list[int]]:
    """Of each class of `classes (N,)` the tokens that its texts have oftener than the others, surest first.

    By the log-odds of a token in the class and outside, over their standard error, with the token's share
    in all texts as a prior (Monroe et al., 2008, equations 16 to 22); those above two standard errors.
    """
    found: Any = counts(samples, vocabulary)
    everything = found.sum(0).A1
    prior = everything + 0.01
    chosen = {}
    for code in sorted(set(classes.tolist())):
        inside = found[(classes == code).numpy()].sum(0).A1
        outside = everything - inside
        odds = [
            np.log((part + prior) / (part.sum() + prior.sum() - part - prior))
            for part in (inside, outside)
        ]
        error = np.sqrt(1 / (inside + prior) + 1 / (outside + prior))
        score = (odds[0] - odds[1]) / error
        best = np.argsort(-score, kind="stable")[:most]
        chosen[code] = [int(token) for token in best if score[token] > 2]
    return chosen
