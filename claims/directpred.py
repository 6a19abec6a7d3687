"""DirectPred: a predictor set from the embeddings' correlation serves better than one trained as long."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tacita.adapt.knn import Knn
from tacita.adapt.linear_probe import LinearProbe
from tacita.audit.health.rankme import rankme
from tacita.claim.check import Claim, Figures, run
from tacita.claim.data import mnist
from tacita.data.batch import Batch
from tacita.data.splits import hold_out
from tacita.encoder import Encoder
from tacita.encoders import build
from tacita.engine.train import train
from tacita.learner import chunks
from tacita.objective import Losses
from tacita.parts.similarity import negative_cosine, unit
from tacita.pretrain.directpred import DirectPred

STEPS = 270
"""Ten epochs."""

CLAIM = Claim(
    slug="directpred",
    claim="A linear predictor set from the embeddings' correlation learns better features than one trained "
    "by gradient for as long, and without a predictor or a stop-gradient embeddings collapse.",
    baseline="the same encoder, projector, teacher, optimiser and steps with a linear predictor trained by "
    "gradient; without a predictor; and with a trained one, without teacher and stop-gradient",
    data="5,000 MNIST digits at 14x14: 70% to pretrain on without labels and to probe with all labels, "
    "30% held out",
    criterion="linear probe above the trained predictor's by 2 points or more in every seed and by 4 in the "
    "mean; without predictor or stop-gradient the embeddings' spread on the sphere is below 0.1 and "
    "their RankMe below 4 of 64 in every seed, and DirectPred's spread above 0.3",
    paper="ImageNet, ResNet-50, 300 epochs: 72.4% against 69.9% of a trained linear predictor; STL-10, "
    "ResNet-18, 100 epochs: about 2 points",
    differs="a small CNN, 270 steps of 128 images; SGD of 0.05 with Nesterov momentum 0.9 and decay 4e-4 "
    "along a cosine for all; DirectCopy is measured beside it; the untrained encoder, measured "
    "afterwards, has 73.5% by the probe and by k-NN, whose gain is uneven: in seed 2 DirectPred is 2 points "
    "below it by k-NN",
)


class TrainedPredictor(DirectPred):
    """A linear predictor that is trained like everything else."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        dim = self.predictor.weight.shape[0]
        self.predictor = self.other(dim)  # type: ignore[assignment]

    def other(self, dim: int) -> nn.Module:
        return nn.Linear(dim, dim, bias=False)

    def after_step(self, step: int) -> None:
        self.seen.clear()
        if self.average is not None:
            self.average.update(nn.ModuleList([self.encoder, self.projector]), step)


class NoPredictor(TrainedPredictor):
    """The student's embeddings are drawn to the teacher's as they are."""

    def other(self, dim: int) -> nn.Module:
        return nn.Identity()


class NoStopGradient(TrainedPredictor):
    """A trained predictor, and a target that is the student's own embedding and learns as well."""

    def __init__(self, encoder: Encoder) -> None:
        super().__init__(encoder)
        self.average = None

    def loss(self, batch: Batch) -> Losses:
        z_a, z_b = self.anchors(self.views(batch)), self.anchors(self.views(batch))
        p_a, p_b = self.predictor(z_a), self.predictor(z_b)
        return Losses(prediction=4 + 2 * negative_cosine(p_a, z_b) + 2 * negative_cosine(p_b, z_a))


def measure(seed: int) -> Figures:
    """Every arm from the same first weights and through the same batches."""
    whole = mnist(14)
    kept, held = hold_out(whole, 0.3, seed)
    pool = whole.subset(kept).normalised()
    test = whole.subset(held).normalised(pool.normaliser)
    figures: Figures = {}
    for name, make in {
        "DirectPred": DirectPred,
        "DirectCopy": lambda encoder: DirectPred(encoder, rule="copy"),
        "trained": TrainedPredictor,
        "no predictor": NoPredictor,
        "no stop-gradient": NoStopGradient,
    }.items():
        torch.manual_seed(seed)
        objective = make(build("residual-cnn", pool.spec, width=16))
        options = {**objective.engine_defaults, "learning_rate": 0.05, "steps": STEPS}
        train(objective, pool, **options, seed=seed)
        with torch.no_grad():
            z: Tensor = torch.cat([objective.anchors(batch) for batch in chunks(test)])
        figures |= {
            f"probe, {name}": LinearProbe(objective.encoder).fit(pool).score(test),
            f"knn, {name}": Knn(objective.encoder).fit(pool).score(test),
            f"rank, {name}": rankme(z),
            f"spread, {name}": float(unit(z).std(0).mean()) * z.shape[1] ** 0.5,
        }
    return figures


def judge(figures: Sequence[Figures]) -> bool:
    """The gain by the probe, and collapse where it is expected only."""
    gains = [f["probe, DirectPred"] - f["probe, trained"] for f in figures]
    return (
        min(gains) >= 0.02
        and sum(gains) / len(gains) >= 0.04
        and all(f["spread, DirectPred"] > 0.3 for f in figures)
        and all(
            f[f"spread, {arm}"] < 0.1 and f[f"rank, {arm}"] < 4
            for f in figures
            for arm in ("no predictor", "no stop-gradient")
        )
    )


if __name__ == "__main__":
    run(CLAIM, measure, judge)
