"""DINO: from a small part of a sample, a student tells what its slow teacher says of the whole.

Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", 2021. Teacher and student
sort samples into prototypes that nobody named; centring keeps one prototype from taking all, and
sharpening keeps all from getting the same. No negatives; a step takes two encoder passes over whole
views by each network, and the student's over small crops.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional

from tacita.catalog.cards import method
from tacita.data.batch import Batch, together
from tacita.data.modality import find
from tacita.encoder import Encoder
from tacita.errors import ConfigError
from tacita.objective import Losses, Objective
from tacita.parts.checks import require_finite, require_samples
from tacita.parts.ema import EMA
from tacita.parts.similarity import unit
from tacita.processes import kinds, mean_over_processes
from tacita.tasks import full_precision
from tacita.views import Views, views_of

LOCAL = (0.4, 0.8)
"""Part of a sample that a local crop shows. The paper has 0.05 to 0.4 of photographs: of a small image
or a short series that shows nothing."""

SMALLEST = 8
"""Local crops are not made smaller than that, in pixels or steps a side."""


@method(
    "dino",
    title="DINO",
    paper="https://arxiv.org/abs/2104.14294",
    year=2021,
    family="pretrain",
    needs=("views", "crops"),
    labels="none",
    summary="Pretrains an encoder without labels: parts of a sample tell what a teacher sees in it.",
    reuses=("views", "ema", "similarity"),
    claim="Features of held-out digits have better neighbours than those of the untrained encoder; without "
    "centring and sharpening they collapse.",
)
class DINO(Objective[Batch]):
    """Self-distillation without labels, over two global and several local crops (equations 1 to 4).

    prototypes: K, how many outputs the head has.
    hidden: width of the head's layers.
    bottleneck: width of the embeddings, before the prototypes.
    local_crops: how many small crops the student gets besides the two global ones.
    student_temperature: tau_s; the paper's value.
    teacher_temperature: tau_t at the start, and after `temperature_warmup`; the lower, the sharper. The
        default of the authors' code; in the paper it rises to 0.07, too warm for few prototypes.
    temperature_warmup: share of the steps in which it rises; the paper's 30 of 300 epochs.
    centre_momentum: how slowly the centre follows the teacher's mean output; 1 leaves it at zero.
    momentum: the teacher's rate at the start; it rises to 1 along a cosine. The paper's 0.996 suits
        hundreds of thousands of steps: runs of hundreds need a teacher that follows sooner.
    frozen_share: share of the steps in which the prototypes stay as they are; the paper's is an epoch.
    global_views: makes a view of a batch; by default the strong ones of the modality.
    local_views: makes a crop of a batch; by default 40 to 80% of an image or a series, at half the size
        where the encoder reads that size and 8 pixels or steps remain, with weak views on top; of a
        table's row, that share of the cells is its own.

    All crops of one size pass the student together and share batch statistics, as in the authors' code.
    What is kept is the teacher, as in the paper; its running statistics are the student's. A loop of
    one's own calls `start(steps)`, `after_step(step)` and `finish()`; without `start` nothing rises and
    nothing is frozen. Raises `ConfigError` for a batch of one sample, and `DivergedError` where the
    teacher is not finite.

    Differs from the paper: milder crops, 2 local ones rather than 8; the centre is the plain mean until
    its momentum can be had, since from zero it would come too late for a short run; 256 prototypes, a
    head of 256 and a bottleneck of 64 rather than 65536, 2048 and 256; constant weight decay.
    """

    reads = "unlabelled"
    engine_defaults = {
        "steps": 1000,
        "batch_size": 128,
        "learning_rate": 1e-3,
        "weight_decay": 0.04,
        "warmup": 0.1,
        "clip": 3.0,
    }
    centre: Tensor
    progress: Tensor

    def __init__(
        self,
        encoder: Encoder,
        *,
        prototypes: int = 256,
        hidden: int = 256,
        bottleneck: int = 64,
        local_crops: int = 2,
        student_temperature: float = 0.1,
        teacher_temperature: tuple[float, float] = (0.04, 0.04),
        temperature_warmup: float = 0.1,
        centre_momentum: float = 0.9,
        momentum: float = 0.99,
        frozen_share: float = 0.01,
        global_views: Views | None = None,
        local_views: Callable[[Batch], Batch] | None = None,
    ) -> None:
        super().__init__()
        for name, value, least, most in (
            ("prototypes", prototypes, 2, math.inf),
            ("hidden", hidden, 1, math.inf),
            ("bottleneck", bottleneck, 2, math.inf),
            ("local_crops", local_crops, 0, math.inf),
            ("student_temperature", student_temperature, 1e-6, math.inf),
            ("teacher_temperature", min(teacher_temperature), 1e-6, math.inf),
            ("temperature_warmup", temperature_warmup, 1e-6, 1),
            ("centre_momentum", centre_momentum, 0, 1),
            ("frozen_share", frozen_share, 0, 1),
        ):
            if not least <= value <= most:
                raise ConfigError(
                    f"{name}={value} is not from {least} to {most}.",
                    remedy="Leave it out for the default.",
                )
        self.encoder = encoder
        self.projector = DINOHead(encoder.dim, hidden, bottleneck, prototypes)
        student = nn.ModuleList([self.encoder, self.projector])
        self.average = EMA(student, momentum=momentum, rise="cosine")
        self.local_crops = local_crops
        self.student_temperature = student_temperature
        self.coldest, self.warmest = teacher_temperature
        self.temperature_warmup = temperature_warmup
        self.centre_momentum = centre_momentum
        self.frozen_share = frozen_share
        self.global_views = views_of(global_views, encoder.spec, "strong")
        self.local_views = local_views or default_crops(encoder)
        self.register_buffer("centre", torch.zeros(prototypes))
        # The share of the steps that are done; a buffer, so that a resumed run goes on from there.
        self.register_buffer("progress", torch.tensor(1.0))
        self.steps: int | None = None
        self._means: list[Tensor] = []

    def start(self, steps: int) -> None:
        self.steps = steps
        self.progress.zero_()
        self.average.start(steps)

    def loss(self, batch: Batch) -> Losses:
        require_samples(batch, 2, "dino", "of which the centre would leave nothing")
        crops = [self.global_views(batch) for _ in range(2)]
        teacher = self.targets(crops)
        crops += [self.local_views(batch) for _ in range(self.local_crops)]
        learning = (self.progress >= self.frozen_share).float()
        student = self.projector(pooled(self.encoder, crops), learning)
        if self.training:
            self._means.append(mean_over_processes(teacher.mean((0, 1))))
        return Losses(
            distillation=dino_loss(
                student.view(len(crops), len(batch), -1),
                teacher,
                self.centre,
                self.student_temperature,
                self.temperature,
            )
        )

    @property
    def temperature(self) -> Tensor:
        """The teacher's temperature at this point of the training."""
        risen = (self.progress / self.temperature_warmup).clamp_max(1.0)
        return self.coldest + (self.warmest - self.coldest) * risen

    @torch.no_grad()
    def targets(self, crops: Sequence[Batch]) -> Tensor:
        """`(U, B, K)`: the teacher's outputs of U crops, neither centred nor sharpened."""
        encoder, head = self.average.teacher
        outputs = full_precision(head(pooled(encoder, crops)))
        return require_finite(outputs, "dino").view(len(crops), len(crops[0]), -1)

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        self.average.update(nn.ModuleList([self.encoder, self.projector]), step)
        if self._means:  # one a part of the batch
            mean = torch.stack(self._means).mean(0)
            rate = self.centre_momentum
            if rate < 1:  # a plain mean of the first steps' means
                rate = min(rate, 1 - 1 / (step + 1))
            self.centre.lerp_(mean, 1 - rate)
            self._means.clear()
        if self.steps is not None:
            self.progress.fill_((step + 1) / self.steps)

    def finish(self) -> None:
        for mine, theirs in zip((self.encoder, self.projector), self.average.teacher, strict=True):
            mine.load_state_dict(theirs.state_dict())

    def anchors(self, batch: Batch) -> Tensor:
        return self.projector.embed(self.encoder(batch).pooled)


class DINOHead(nn.Module):
    """Three layers to an embedding of length 1, and its cosines with the prototypes (appendix C).

    The last layer is weight-normed with its norms fixed at 1: prototypes are directions.
    """

    def __init__(self, dim: int, hidden: int, bottleneck: int, prototypes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(dim, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.randn(prototypes, bottleneck))

    def embed(self, features: Tensor) -> Tensor:
        """`(B, dim)` to `(B, bottleneck)` of length 1."""
        return unit(self.layers(features))

    def forward(self, features: Tensor, learning: Tensor | None = None) -> Tensor:
        """`(B, dim)` to `(B, K)`; at `learning` 0 the prototypes get a gradient of zero, at 1 theirs."""
        prototypes: Tensor = self.prototypes
        if learning is not None:
            prototypes = torch.lerp(prototypes.detach(), prototypes, learning)
        return functional.linear(self.embed(features), unit(prototypes))


def dino_loss(
    student: Tensor,
    teacher: Tensor,
    centre: Tensor,
    student_temperature: float = 0.1,
    teacher_temperature: float | Tensor = 0.04,
) -> Tensor:
    """Cross-entropy from each of the teacher's crops to each other of the student's (equation 3).

    Shapes: `student (V, B, K)`, of which the first U are the crops of `teacher (U, B, K)`; `centre (K,)`.
    The mean over samples and pairs of different crops, in float32; no gradient flows into the teacher.

    >>> nothing = torch.zeros(2, 5, 8)
    >>> torch.isclose(dino_loss(nothing, nothing, torch.zeros(8)), torch.tensor(8.0).log()).item()
    True
    """
    student, teacher = full_precision(student), full_precision(teacher)
    targets = ((teacher.detach() - centre) / teacher_temperature).softmax(2)
    logs = (student / student_temperature).log_softmax(2)
    crops, samples, views = len(targets), targets.shape[1], len(logs)
    with torch.autocast(student.device.type, enabled=False):
        entropies = -targets.flatten(1) @ logs.flatten(1).T / samples  # (U, V)
    itself = torch.eye(crops, views, dtype=torch.bool, device=student.device)
    return entropies.masked_fill(itself, 0.0).sum() / (crops * (views - 1))


def pooled(encoder: nn.Module, crops: Sequence[Batch]) -> Tensor:
    """`(V * B, dim)`: features of V crops of a batch, crop after crop; those of one size in one pass."""
    features = []
    for _, same in groupby(crops, key=lambda crop: crop.x.shape):
        group = list(same)
        with kinds(*map(len, group)):
            features.append(encoder(together(group)).pooled)
    return torch.cat(features)


def default_crops(encoder: Encoder) -> Callable[[Batch], Batch]:
    """Local crops with the weak views of the modality on top; of a table the crop is a view itself."""
    spec = encoder.spec
    modality = find(spec.modality)
    sides = modality.sides(spec)
    if not sides:
        return modality.crops(spec, scale=LOCAL)
    size = 0.5 if min(sides) >= 2 * SMALLEST and reads_at(encoder, 0.5) else 1.0
    crops = modality.crops(spec, scale=LOCAL, size=size)
    return nn.Sequential(crops, modality.views(spec, "weak"))


@torch.no_grad()
def reads_at(encoder: Encoder, size: float) -> bool:
    """Whether an encoder also reads samples whose sides are a share of those that it was made for."""
    crops = find(encoder.spec.modality).crops(encoder.spec, scale=(1.0, 1.0), size=size)
    nothing = Batch.of(torch.zeros(2, *encoder.spec.shape))
    training = encoder.training
    try:
        encoder.eval()(crops(nothing))
    except (RuntimeError, AssertionError, ValueError):  # libraries have no one error for it
        return False
    finally:
        encoder.train(training)
    return True
