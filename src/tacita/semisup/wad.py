"""Weight-aware distillation: what resembles one class more than any other counts, strangers do not.

Du et al., "Semi-Supervised Learning via Weight-aware Distillation under Class Distribution Mismatch",
ICCV 2023, arXiv 2308.11874. Use it when most unlabelled samples may be of classes that nobody labelled.
A pretrained encoder, the teacher, is asked once for the features of all samples; a step then costs two
forward passes of the student, over labelled and unlabelled samples.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.adapt.trained import Trained
from tacita.catalog.cards import method
from tacita.data.batch import Batch, SemiBatch
from tacita.data.dataset import Dataset
from tacita.data.modality import default_views
from tacita.encoder import Encoder
from tacita.encoders import untrained
from tacita.engine.history import Callback, History, Progress
from tacita.engine.passes import mix
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.learner import features
from tacita.objective import Losses, Objective
from tacita.parts.sample_state import SampleState
from tacita.parts.similarity import unit
from tacita.processes import mean_of
from tacita.semisup.base import require_classes
from tacita.tasks import UNLABELLED, Task, full_precision

BLOCK = 1024
"""Unlabelled samples whose similarities to all labelled ones are in memory at once."""
RIDGE = 0.03
"""What is added to the variance of every direction of the features, as a share of the mean variance."""


class WeightAwareDistillation(Objective[SemiBatch]):
    """The student: cross-entropy on labels, and weighted on what the teacher takes the others for.

    views: the augmentation of both; default: the modality's weak views.

    `teach` tells it pseudo-labels and weights by the samples' index; until then it learns from labels.
    """

    head: nn.Module
    reads = "both"

    def __init__(self, encoder: Encoder, task: Task, *, views: nn.Module | None = None) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = task.head(encoder.dim)
        self.views = views or default_views(encoder.spec, "weak")
        self.pseudo_labels = SampleState(UNLABELLED)
        self.weights = SampleState(0.0)

    def teach(self, index: Tensor, pseudo_labels: Tensor, weights: Tensor) -> None:
        """What the teacher knows of all samples, each `(N,)`; of a labelled one `UNLABELLED` and 0."""
        for state, values in ((self.pseudo_labels, pseudo_labels), (self.weights, weights)):
            state.prepare(index)
            state.write(index, values)

    def loss(self, batch: SemiBatch) -> Losses:
        labelled, unlabelled = self.views(batch.labelled), self.views(batch.unlabelled)
        guesses = self.pseudo_labels.read(unlabelled.index)
        weights = self.weights.read(unlabelled.index)
        supervised = functional.cross_entropy(self.logits(labelled), labelled.y)
        each = functional.cross_entropy(
            self.logits(unlabelled),
            guesses,
            ignore_index=UNLABELLED,
            reduction="none",
        )
        # The engine's unlabelled batches hold labelled samples too, which are not part of the mean.
        count = (guesses != UNLABELLED).sum()
        distilled = mean_of((weights * each).sum(), count)
        metrics = {"weight": mean_of(weights.sum(), count)}
        return Losses(metrics, supervised=supervised, distilled=distilled)

    def logits(self, view: Batch) -> Tensor:
        """`(B, K)`, at least in float32."""
        return full_precision(self.head(self.encoder(view).pooled))


@method(
    "wad",
    title="Semi-Supervised Learning via Weight-aware Distillation under Class Distribution Mismatch",
    paper="https://arxiv.org/abs/2308.11874",
    year=2023,
    family="semisup",
    needs=("views",),
    labels="few",
    tasks=("classification",),
    summary="Learns from unlabelled samples that are mostly of other classes than the labelled ones.",
    reuses=("simclr", "views", "sample-state", "similarity"),
    claim="Among samples of known classes weights are larger for right guesses (area 0.71 under the ROC "
    "curve), but on two kinds of clothes with 60% strangers it is 3 points above the labels alone and 1 "
    "above weights of 1, neither beyond chance over eight seeds (p 0.055 and 0.19). Keeping all strangers "
    "out gains nothing.",
)
class WAD(Trained):
    """A pretrained teacher weighs unlabelled samples for a student, and the surest become labelled.

    The given encoder is the teacher and does not change; pretrain it on all samples, strangers too
    (the recipe `wad` does so by SimCLR).

    rounds: after how many rounds no more samples are taken over, R (5); one more round follows.
    alpha: share of the unlabelled samples taken over, which falls with the rounds (0.1).
    normalise: whether weights are divided by their mean, so that in all they count as if each were 1; the
        paper has them as they are, which makes pseudo-labels of small account where margins are small.
    student: a new network of the teacher's kind, or one that starts as the teacher.
    engine: arguments of `tacita.engine.train.train`, which is called once a round; `steps` and
        `max_seconds` are those of all rounds, which share them evenly.

    After `fit`: for each unlabelled sample, by its `index_ (U,)`, its weight `weights_ (U,)` from the
    true labels alone, near 0 for a stranger, and its pseudo-label `pseudo_labels_ (U,)`. A weight is the
    method's own measure of a stranger and not the best one: see the claim for a plain similarity beside it.

    Raises `ConfigError` for a task without two classes or options out of range.

    Differs from the paper: the teacher's features, whitened over all samples, stand for the projector's
    output, which pretraining does not keep (as they come, strangers can have the larger weights); they are
    of the samples as they are, where the paper draws one random view; weights are normalised; weak views
    are the student's augmentation; AdamW on a cosine to zero in every round in place of Adam at a constant
    rate.
    """

    engine_defaults = {"steps": 1200, "batch_size": 64, "learning_rate": 1e-3, "weight_decay": 5e-4}

    index_: Tensor
    weights_: Tensor
    pseudo_labels_: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        rounds: int = 5,
        alpha: float = 0.1,
        normalise: bool = True,
        student: Literal["fresh", "teacher"] = "fresh",
        engine: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            encoder, WeightAwareDistillation, engine={**self.engine_defaults, **(engine or {})}
        )
        if rounds < 1:
            raise ConfigError(f"rounds={rounds} is not positive.", remedy="The paper has 5.")
        if not 0 <= alpha <= 1:
            raise ConfigError(
                f"alpha={alpha} is not a share, from 0 to 1.", remedy="The paper has 0.1."
            )
        self.rounds = rounds
        self.alpha = alpha
        self.normalise = normalise
        self.student = student

    def _fit(self, data: Dataset, seed: int) -> None:
        z = self.embeddings(data)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            objective = self.untaught(data)
        self.history_ = History(0)
        for number in range(1, self.rounds + 2):
            guesses, weights = self.taught(objective, z, data)
            if number == 1:
                outside = ~data.labelled
                self.index_ = data.index[outside]
                self.weights_, self.pseudo_labels_ = weights[outside], guesses[outside]
            self.train_round(objective, data, number, seed)
            if number <= self.rounds:
                unlabelled = (~data.labelled).nonzero().squeeze(1)
                losses = student_losses(objective, data.subset(unlabelled), guesses[unlabelled])
                count = int(acceptance(self.alpha, number, self.rounds) * len(unlabelled))
                accepted = unlabelled[losses.topk(count, largest=False).indices]
                data = data.with_labels(data.y.index_copy(0, accepted, guesses[accepted]))
        self.encoder, self.head = objective.encoder, objective.head

    def build(self, data: Dataset) -> WeightAwareDistillation:
        """The student for this data, ready for its first round."""
        objective = self.untaught(data)
        self.taught(objective, self.embeddings(data), data)
        return objective

    def untaught(self, data: Dataset) -> WeightAwareDistillation:
        """The student, who knows nothing of the unlabelled samples yet."""
        if require_classes("wad", data.task).out_dim < 2:
            raise ConfigError("wad weighs classes against each other, but there is only one.")
        encoder = untrained(self.begin) if self.student == "fresh" else copy.deepcopy(self.begin)
        return WeightAwareDistillation(encoder, data.task)

    def embeddings(self, data: Dataset) -> Tensor:
        """`(N, D)` of length 1: the teacher's whitened features."""
        return unit(whitened(features(self.begin, data)))

    def knowledge(self, z: Tensor, data: Dataset) -> tuple[Tensor, Tensor]:
        """`(N,)` pseudo-labels and weights; `UNLABELLED` and 0 for samples that have a label."""
        known = data.labelled
        guesses, weights = torch.full_like(data.y, UNLABELLED), z.new_zeros(len(data))
        s = class_similarities(z[~known], z[known], data.y[known], len(data.task.classes))
        guesses[~known], weights[~known] = best_and_margin(s)
        return guesses, weights

    def taught(
        self, objective: WeightAwareDistillation, z: Tensor, data: Dataset
    ) -> tuple[Tensor, Tensor]:
        """Tell the student what the teacher knows by now, which is returned: see `knowledge`."""
        guesses, weights = self.knowledge(z, data)
        mean = weights.sum() / (~data.labelled).sum().clamp_min(1)
        scaled = weights / mean.clamp_min(1e-6) if self.normalise else weights
        objective.teach(data.index, guesses, scaled)
        return guesses, weights

    def train_round(
        self, objective: WeightAwareDistillation, data: Dataset, number: int, seed: int
    ) -> None:
        """Train the student once on what is labelled by now; its history goes on."""
        every = dict(self.engine)
        rounds, done = self.rounds + 1, self.history_.steps
        every["steps"] = max(1, every["steps"] // rounds)
        if every.get("max_seconds") is not None:
            every["max_seconds"] /= rounds
        if every.get("checkpoint") is not None:
            # Finished rounds are read from their files when a killed run goes on.
            path = every["checkpoint"]
            every["checkpoint"] = path.with_name(f"{path.stem}.round-{number}{path.suffix}")
        before, whole = self.history_.seconds, every["steps"] * rounds
        every["callbacks"] = [
            counted_on(callback, done, whole, before) for callback in every.get("callbacks", ())
        ]
        history = train(objective, data, **{**every, "seed": mix(seed, number)})
        self.history_.steps += history.steps
        self.history_.rows += [{**row, "step": done + row["step"]} for row in history.rows]
        self.history_.seconds += history.seconds
        self.history_.peak_mb = max(self.history_.peak_mb, history.peak_mb)


def counted_on(callback: Callback, done: int, steps: int, seconds: float) -> Callback:
    """A callback that is told of a round as of a part of one training, `done` steps and `seconds` in."""

    def call(progress: Progress) -> None:
        step = done + progress.step
        row = {**progress.row, "step": step}
        callback(Progress(step, steps, row, seconds + progress.seconds))

    return call


def whitened(values: Tensor) -> Tensor:
    """`(N, D)` features turned and scaled to have no correlation and variances near 1.

    To all variances 3% of their mean are added, lest directions of hardly any become noise.

    >>> values = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    >>> whitened(values).norm(dim=1)
    tensor([1.4011, 1.4011, 1.3640, 1.3640])
    """
    centred = values.double() - values.double().mean(0)
    variances, directions = torch.linalg.eigh(centred.T @ centred / len(values))
    # The last one is for features that are all alike.
    scale = (variances.clamp_min(0) + RIDGE * variances.mean()).clamp_min(1e-12).rsqrt()
    return (centred @ directions * scale).to(values.dtype)


def class_similarities(z: Tensor, labelled: Tensor, y: Tensor, classes: int) -> Tensor:
    """`(U, K)`: the largest cosine of each sample to a labelled one of each class, `s_c(x)`.

    Exact, a block of rows at a time. A class without a labelled sample is at -1.

    Shapes: `z (U, D)` and `labelled (L, D)` of length 1; `y (L,)` codes.
    """
    s = z.new_full((z.shape[0], classes), -1.0)
    for block, into in zip(torch.split(z, BLOCK), torch.split(s, BLOCK), strict=True):
        columns = y.expand(block.shape[0], -1)
        into.scatter_reduce_(1, columns, block @ labelled.T, "amax")
    return s


def best_and_margin(s: Tensor) -> tuple[Tensor, Tensor]:
    """The likeliest class `(U,)` and how far it is above the second, `w = s_(1) - s_(2) (U,)`.

    >>> best_and_margin(torch.tensor([[0.25, 0.75, 0.0], [0.5, 0.0, 0.5]]))
    (tensor([1, 0]), tensor([0.5000, 0.0000]))
    """
    best = s.topk(2, dim=1)
    return best.indices[:, 0], best.values[:, 0] - best.values[:, 1]


def acceptance(alpha: float, number: int, rounds: int) -> float:
    """The share of unlabelled samples that is taken over after round `number`, from 1 to `rounds`.

    >>> [round(acceptance(0.1, r, 5), 3) for r in range(1, 6)]
    [0.064, 0.036, 0.016, 0.004, 0.0]
    """
    return alpha * (1 - number / rounds) ** 2


@torch.no_grad()
def student_losses(objective: WeightAwareDistillation, data: Dataset, y: Tensor) -> Tensor:
    """`(N,)` cross-entropy of a trained student's predictions to `y`, on samples as they are."""
    logits = objective.head(features(objective.encoder, data))
    return functional.cross_entropy(logits, y, reduction="none")
