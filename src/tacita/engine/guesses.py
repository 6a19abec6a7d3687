"""How good are the guesses that a semi-supervised method learns from? Told where labels are hidden."""

from __future__ import annotations

from typing import Any

import torch

from tacita.data.dataset import Dataset
from tacita.data.splits import drawn
from tacita.engine.history import Progress
from tacita.learner import chunks, evaluating
from tacita.objective import Objective

LOOKED_AT = 1000
"""Samples whose guesses are looked at."""


class Guesses:
    """A callback that tells how good the guesses of samples are whose label was hidden.

    Its rows have the paper's `mask_rate`, the share of samples whose most likely class reaches the
    threshold, and `impurity`, the share of those that is wrong (0 where there are none): in evaluation
    mode, without views, by the weights of now. Training is not changed.

    truth: samples with the labels that training does not see; the first 1,000 of a seeded draw.
    threshold: of confidence; the paper's.
    """

    def __init__(
        self, objective: Objective[Any], truth: Dataset, *, threshold: float = 0.95
    ) -> None:
        self.objective = objective
        self.truth = drawn(truth, LOOKED_AT)
        self.threshold = threshold

    @torch.no_grad()
    def __call__(self, progress: Progress) -> None:
        head = self.objective.head
        assert head is not None
        device = next(self.objective.parameters()).device
        with evaluating(self.objective):
            parts = []
            for batch in chunks(self.truth):
                on = batch.to(device)
                parts.append(head(self.objective.encoder(on).pooled).float().cpu())
        confidence, guesses = torch.cat(parts).softmax(1).max(1)
        confident = confidence >= self.threshold
        wrong = (guesses != self.truth.y)[confident]
        progress.row["mask_rate"] = float(confident.float().mean())
        progress.row["impurity"] = float(wrong.float().mean()) if len(wrong) else 0.0
