"""The fast gradient sign method: every value goes by the whole budget to where the loss grows.

Goodfellow, Shlens and Szegedy, "Explaining and Harnessing Adversarial Examples", ICLR 2015. Of all
changes by at most `budget` a value, `budget sign(gradient)` raises a linear loss most; networks are
linear enough that one such step misleads them. It is the cheapest attack, so what withstands it may
still fall to others.
"""

from __future__ import annotations

import torch
from torch import Tensor

from tacita.audit.attack import Attack, as_floats, within
from tacita.catalog.cards import method
from tacita.data.batch import Batch
from tacita.errors import DataError
from tacita.learner import Learner


@method(
    "fgsm",
    title="Fast gradient sign method",
    paper="https://arxiv.org/abs/1412.6572",
    year=2015,
    family="audit",
    needs=("numbers",),
    labels="few",
    tasks=("classification", "ordinal"),
    summary="Misleads a model by one step along the sign of the gradient, to see how easily it is misled.",
)
class FGSM(Attack):
    """One step (equation 2). The budget is the largest change of a value, in the data's own units.

    Values that the loss does not depend on stay, as do categories of tables, padding and what is
    missing. Columns of a table all have the one budget, so they should have one unit.

    >>> from tacita.adapt.linear_probe import LinearProbe
    >>> from tacita.audit.attack import attacked
    >>> from tacita.encoders import build
    >>> from tacita.modalities.load import load
    >>> digits = load("digits").subset(torch.arange(200))
    >>> probe = LinearProbe(build("residual-cnn", digits.spec, width=4)).fit(digits)
    >>> report = attacked(FGSM(), probe, digits, budget=24)
    >>> report.success > report.control, report.max_change
    (True, 24.0)
    """

    def perturb(self, model: Learner, batch: Batch, budget: float) -> Batch:
        return within(model, batch, loss_gradient(model, batch).sign(), budget)


def loss_gradient(model: Learner, batch: Batch) -> Tensor:
    """`(B, ...)`: of the loss of true targets, with respect to raw samples.

    Raises `ConfigError` for a model without gradients, `DataError` for a sample without a label.
    """
    if not bool(model.task_.known(batch.targets).all()):
        raise DataError(
            "a sample to attack has no label.",
            remedy="Give labelled samples, or the model's own guesses.",
        )
    x = as_floats(batch.x).detach().clone().requires_grad_()
    with torch.enable_grad():
        logits = model.differentiable_logits(batch.with_x(x).samples)
        (gradient,) = torch.autograd.grad(model.task_.loss(logits, batch.y), x)
    # Through a missing value none comes back.
    return gradient.nan_to_num(0.0)
