"""What the baselines of texts share: how often each token occurs in a text, as a sparse row."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfTransformer

from tacita.baselines.base import Baseline, weighing
from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.modalities.text.rows import counts


class TfIdfBaseline(Baseline):
    """A scikit-learn pipeline that begins with TF-IDF, over counts of single tokens.

    A count enters as `1 + log(count)`, as is usual for texts of unequal lengths. How rare a token is,
    and whatever else needs no label, is taken from all texts, labelled or not.
    """

    def weights(self) -> TfidfTransformer:
        """Unfitted TF-IDF: the pipeline's first step."""
        return TfidfTransformer(sublinear_tf=True)

    def _fit(self, data: Dataset, seed: int) -> None:
        self.spec_ = data.spec
        learnt = data.labelled.numpy()
        self.estimator_ = self.estimator(data.task, data.spec, int(learnt.sum()), seed)
        batch = data.take(torch.arange(len(data)))
        rows = self._rows(batch)
        *before, (_, last) = self.estimator_.steps
        for _, step in before:
            rows = step.fit_transform(rows)
        chosen = slice(None) if self.transductive else learnt
        with np.errstate(invalid="ignore"):
            weights = None if batch.weights is None else batch.weights[chosen]
            last.fit(rows[chosen], batch.y.numpy()[chosen], **weighing(last, weights))

    def _columns(self) -> int:
        return self.spec_.vocabulary

    def _rows(self, batch: Batch) -> Any:
        return counts(batch.samples, self.spec_.vocabulary)
