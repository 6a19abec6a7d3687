"""IOMatch: what is of no known class is a class of its own, guessed by two heads that know no such class.

Li et al., "IOMatch: Simplifying Open-Set Semi-Supervised Learning with Joint Inliers and Outliers
Utilization", ICCV 2023, arXiv 2308.13168. Use it where unlabelled samples are partly of classes that
have no label, and labels are few. A step costs what one of FixMatch does, and two small heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import SemiBatch
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses
from tacita.parts.alignment import Prior, QueueAlignment
from tacita.semisup.base import SemiSupervised, require_classes
from tacita.tasks import Task, full_precision, weighted_mean
from tacita.views import Views

PROJECTION = 128
"""Width of the features that the two further heads read (official code)."""


@method(
    "iomatch",
    title="IOMatch: Simplifying Open-Set Semi-Supervised Learning",
    paper="https://arxiv.org/abs/2308.13168",
    year=2023,
    family="semisup",
    needs=("views",),
    labels="few",
    tasks=("classification", "open-set"),
    summary="Classify from a few labels where many unlabelled samples are of no known class, and say so.",
    reuses=("views", "ema", "alignment", "fixmatch"),
    claim="With unknown classes in the pool, known and unknown are told better than by FixMatch: this "
    "does not hold here in 400 steps (83.5% against 84.2% on digits, 72.8% of the labels alone). On "
    "clothes both are worse at it than the labels alone.",
)
class IOMatch(SemiSupervised):
    """A closed-set and a multi-binary classifier make K + 1 soft targets for an open-set one.

    Heads on features `h` and their projection `z`: closed-set `phi(h)` of K classes, multi-binary
    `chi(z)` of K pairs "is it this class or not?", open-set `psi(z)` of K + 1. Only labels teach
    `chi`, and only unlabelled samples `psi`. The kept head is `phi` where the task is classification,
    and `psi` after the projection where it is an open set.

    threshold: confidence of `phi` from which a guess counts for `phi`, tau_p (0.95).
    open_threshold: the largest target from which it counts for `psi`, tau_q (0.5).
    binary_weight, unlabelled_weight, open_weight: of L_mb, L_ui and L_op (1 each).
    open_warmup: share of the steps before L_op counts. In the official code it is the first epoch,
        1,024 steps of 262,144, in which `chi` learns what a known class is; runs of hundreds of steps
        give it a tenth.
    queue: batches whose guesses are aligned by (128, official code).
    alignment: which shares of classes the guesses of `phi` are brought to. The paper's are equal, and for
        CIFAR-10 there is none.
    unlabelled_ratio: unlabelled samples a labelled one in a step, mu (7).
    momentum: rate of the averaged weights that are kept, as in FixMatch.
    weak, strong: view makers; default: those of the modality.

    Defaults are the official code's. Differs from the paper: as FixMatch does; the logs of L_mb are
    exact, where the official code adds 1e-8; the loss of rotations, which that code has as an option,
    is left out.

    Raises `ConfigError` for a task without classes, and for a threshold or a share out of range.
    """

    deaf = {"unlabelled_weight": 0.0, "open_weight": 0.0}
    tiny = {"open_threshold": 0.05}  # else no guess of an untrained network counts
    warm: Tensor

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        *,
        threshold: float = 0.95,
        open_threshold: float = 0.5,
        binary_weight: float = 1.0,
        unlabelled_weight: float = 1.0,
        open_weight: float = 1.0,
        open_warmup: float = 0.1,
        queue: int = 128,
        alignment: Prior = "uniform",
        unlabelled_ratio: int = 7,
        momentum: float = 0.99,
        weak: Views | None = None,
        strong: Views | None = None,
    ) -> None:
        classes = len(require_classes("iomatch", task).classes)
        super().__init__(
            encoder,
            task,
            unlabelled_ratio=unlabelled_ratio,
            momentum=momentum,
            weak=weak,
            strong=strong,
        )
        for name, value in (("threshold", threshold), ("open_threshold", open_threshold)):
            if not 0 < value <= 1:
                raise ConfigError(f"{name}={value} is not a probability.")
        if not 0 <= open_warmup < 1:
            raise ConfigError(
                f"open_warmup={open_warmup} leaves no step to learn what is unknown in.",
                remedy="Give a share of the steps from 0 to below 1.",
            )
        self.threshold, self.open_threshold = threshold, open_threshold
        self.binary_weight, self.unlabelled_weight = binary_weight, unlabelled_weight
        self.open_weight, self.open_warmup = open_weight, open_warmup
        self.alignment = QueueAlignment(classes, prior=alignment, length=queue)

        chi = nn.Linear(PROJECTION, 2 * classes, bias=False)
        nn.init.xavier_normal_(chi.weight)
        self.others["binary"] = chi
        self.opens = bool(task.further)
        if self.opens:
            self.others["closed"], self.head = self.head, open_head(encoder.dim, classes)
        else:
            self.others["open"] = open_head(encoder.dim, classes)
        self.average = self.averaged()
        # Whether L_op counts by now: a buffer, so that a resumed run goes on from there.
        self.register_buffer("warm", torch.tensor(1.0))
        self.first = 0

    @property
    def closed(self) -> nn.Module:
        """phi: features to `(B, K)` logits."""
        return self.others["closed"] if self.opens else self.head

    @property
    def open(self) -> nn.Sequential:
        """The projection, and psi on it: features to `(B, K + 1)` logits."""
        head = self.head if self.opens else self.others["open"]
        assert isinstance(head, nn.Sequential)
        return head

    def pairs(self, features: Tensor) -> Tensor:
        """chi: features to `(B, 2, K)` logits, of not being of a class and of being of it."""
        z = self.open[0](features)
        pairs: Tensor = full_precision(self.others["binary"](z)).view(z.shape[0], 2, -1)
        return pairs

    def prepare(self, data: Dataset) -> None:
        self.alignment.prepare(data)

    def start(self, steps: int) -> None:
        self.first = round(self.open_warmup * steps)
        self.warm.fill_(self.first == 0)

    def loss(self, batch: SemiBatch) -> Losses:
        labelled = self.weak(batch.labelled)
        weak, strong = self.weak(batch.unlabelled), self.strong(batch.unlabelled)
        h, h_weak, h_strong = self.features(labelled, weak, strong)

        supervised = self.supervised(full_precision(self.closed(h)), labelled)
        binary = multi_binary_loss(self.pairs(h), labelled.y, labelled.weights)
        with torch.no_grad():
            p = self.alignment(full_precision(self.closed(h_weak)).softmax(1))
            o = self.pairs(h_weak).softmax(1)[:, 1]
            q = open_targets(p, o)
        inlier = ((p.amax(1) >= self.threshold) & (q[:, -1] < 0.5)).float()
        sure = (q.amax(1) >= self.open_threshold).float()
        unlabelled = masked_soft_cross_entropy(full_precision(self.closed(h_strong)), p, inlier)
        unknown = masked_soft_cross_entropy(full_precision(self.open(h_strong)), q, sure)
        return Losses(
            {"inliers": inlier.mean(), "outliers": (q[:, -1] >= 0.5).float().mean()},
            supervised=supervised,
            multi_binary=self.binary_weight * binary,
            unlabelled=self.unlabelled_weight * unlabelled,
            open_set=self.warm * self.open_weight * unknown,
        )

    def after_step(self, step: int) -> None:
        super().after_step(step)
        self.warm.fill_(step + 1 >= self.first)


def open_head(dim: int, classes: int) -> nn.Sequential:
    """The projection, which the multi-binary head reads too, and the open-set head on it."""
    projection = nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, PROJECTION))
    psi = nn.Linear(PROJECTION, classes + 1)
    nn.init.xavier_normal_(psi.weight)
    nn.init.zeros_(psi.bias)
    return nn.Sequential(projection, psi)


def multi_binary_loss(pairs: Tensor, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """L_mb: a sample is of its class, and not of the class that it is taken for most.

    `mean_b [-log o_y(b) + max_{k != y} -log(1 - o_k(b))]`. Shapes: `pairs (B, 2, K)` logits, where
    `[:, 1]` are those of being of a class; `y (B,)` codes; `weights (B,)` how often each sample counts. Of
    one class alone there is no other: the second term is 0.

    >>> round(multi_binary_loss(torch.zeros(1, 2, 2), torch.tensor([0])).item(), 4)  # 2 log 2
    1.3863
    """
    cost = -pairs.log_softmax(1)
    own = functional.one_hot(y, pairs.shape[2]).bool()
    # A cost is never negative, so 0 in the place of the own class is the largest of none alone.
    hardest = cost[:, 0].masked_fill(own, 0.0).max(1).values
    return weighted_mean(cost[:, 1].gather(1, y[:, None])[:, 0] + hardest, weights)


def open_targets(p: Tensor, o: Tensor) -> Tensor:
    """`(B, K + 1)` targets `q`: of class k with `p_k o_k`, unknown with `sum_k p_k (1 - o_k)`.

    Shapes: `p (B, K)` probabilities of the classes, `o (B, K)` of being of each of them.

    >>> open_targets(torch.tensor([[0.75, 0.25]]), torch.tensor([[0.5, 0.0]]))
    tensor([[0.3750, 0.0000, 0.6250]])
    """
    return torch.cat([p * o, (p * (1 - o)).sum(1, keepdim=True)], 1)


def masked_soft_cross_entropy(logits: Tensor, targets: Tensor, mask: Tensor) -> Tensor:
    """Mean of `mask * CE(logits, targets)` over the whole batch: L_ui and L_op.

    Shapes: `logits` and `targets (B, K)` probabilities, `mask (B,)` of 0 and 1.
    """
    return (mask * functional.cross_entropy(logits, targets, reduction="none")).mean()
