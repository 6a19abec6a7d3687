"""A training step of each objective: what it costs beyond its networks, and beside lightly.

All sides get the same encoder, heads, batch and views, made beforehand. "Bare" is the forward and
backward pass of the same networks over the same number of views with a sum in place of the loss: no
queue, teacher update or mask. Lightly's side is written as its examples are: its loss, its update of
the teacher, a pass a view.
"""

from __future__ import annotations

import copy
import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import Result, peak_of_this_process, side_by_side
from tacita.catalog.discover import get, load_class
from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build, default_encoder
from tacita.objective import Objective
from tacita.parts.blocks import draw_blocks, positions_of
from tacita.parts.masking import gather_tokens

BATCH = 256
SPEC = InputSpec("images", (3, 32, 32))
Step = Callable[[], object]


class FixedViews(nn.Module):
    """Hands out the same two views in turn, so that no side pays for making them."""

    def __init__(self, x_a: Tensor, x_b: Tensor) -> None:
        super().__init__()
        self.pair = (x_a, x_b)
        self.count = 0

    def forward(self, batch: Batch) -> Batch:
        self.count += 1
        return batch.with_x(self.pair[self.count % 2])


def run() -> list[Result]:
    """Time and peak memory of a step, 256 colour images of 32x32."""
    results = []
    for method in METHODS:
        what = f"a step of {method}, 256 images 3x32x32"
        ours, bare = side_by_side(ours_of(method), bare_of(method), repeats=7)
        results.append(Result(what, "its bare networks", ours, bare, "0.95"))
        if method in LIGHTLY:
            ours, peer = side_by_side(ours_of(method), lightly_of(method), repeats=7)
            results.append(Result(what, "lightly", ours, peer, "1"))
        memory = peak("ours", method), peak("bare", method)
        results.append(Result(f"{what}, peak memory", "its bare networks", *memory, "", "MB"))
    return results


def views() -> tuple[Tensor, Tensor]:
    """Two batches of noise: their content does not matter to time."""
    torch.manual_seed(0)
    a, b = torch.randn(2, BATCH, *SPEC.shape).unbind(0)
    return a, b


def objective_of(method: str) -> Any:
    """The objective with its own defaults, around a residual CNN or, where it hides tokens, a ViT."""
    torch.manual_seed(0)
    cls = load_class(method)
    encoder = build(default_encoder(SPEC, get(method).needs), SPEC)
    known = inspect.signature(cls).parameters
    names = [name for name in ("views", "global_views", "local_views") if name in known]
    pair = views()
    half = tuple(x[:, :, ::2, ::2].contiguous() for x in pair)
    fixed = {name: FixedViews(*(half if name == "local_views" else pair)) for name in names}
    return cls(encoder, **fixed).train()


def ours_of(method: str) -> Step:
    """Forward, backward and what follows every step."""
    objective: Objective[Batch] = objective_of(method)
    batch = Batch(views()[0], torch.zeros(BATCH, dtype=torch.int64), torch.arange(BATCH))
    objective.start(1000)

    def step() -> None:
        torch.manual_seed(0)  # so that I-JEPA's blocks are those of `blocks_of`
        objective.zero_grad()
        objective(batch).total.backward()
        objective.after_step(0)

    return step


def bare_of(method: str) -> Step:
    """The same networks over the same views."""
    objective = objective_of(method)
    return partial(_stepped, objective, partial(METHODS[method], objective, *views()))


def lightly_of(method: str) -> Step:
    """The same networks under lightly's loss and tools."""
    objective = objective_of(method)
    return partial(_stepped, objective, LIGHTLY[method](objective, *views()))


def _stepped(objective: nn.Module, loss: Callable[[], Tensor]) -> None:
    objective.zero_grad()
    loss().backward()  # type: ignore[no-untyped-call]


def embed(objective: Any, x: Tensor) -> Tensor:
    """`(B, D)`: through the encoder and the projector."""
    embedding: Tensor = objective.projector(objective.encoder(x).pooled)
    return embedding


def bare_pair(objective: Any, x_a: Tensor, x_b: Tensor) -> Tensor:
    """Two views, a pass each."""
    return embed(objective, x_a).sum() + embed(objective, x_b).sum()


def bare_predicted(objective: Any, x_a: Tensor, x_b: Tensor) -> Tensor:
    """Two views and a predictor."""
    z_a, z_b = embed(objective, x_a), embed(objective, x_b)
    total: Tensor = objective.predictor(z_a).sum() + objective.predictor(z_b).sum()
    return total


def bare_taught(objective: Any, x_a: Tensor, x_b: Tensor) -> Tensor:
    """Two views, a predictor, and two passes without a gradient."""
    with torch.no_grad():
        encoder, projector = objective.average.teacher
        for x in (x_a, x_b):
            projector(encoder(x).pooled)
    return bare_predicted(objective, x_a, x_b)


def bare_mixed(objective: Any, x_a: Tensor, x_b: Tensor) -> Tensor:
    """Three views."""
    return bare_pair(objective, x_a, x_b) + embed(objective, x_a).sum()


def bare_crops(objective: Any, x_a: Tensor, x_b: Tensor) -> Tensor:
    """DINO's head over two whole crops and the small ones in a pass each; the teacher's two."""
    whole, small = torch.cat([x_a, x_b]), [x_a[:, :, ::2, ::2]] * objective.local_crops
    with torch.no_grad():
        encoder, head = objective.average.teacher
        head(encoder(whole).pooled)
    return embed(objective, whole).sum() + embed(objective, torch.cat(small)).sum()


def bare_mae(objective: Any, x_a: Tensor, _: Tensor) -> Tensor:
    """Encoder and decoder where the same tokens are hidden in all samples."""
    encoder, count = objective.encoder, len(x_a)
    tokens = encoder.positions.shape[0]
    visible = torch.arange(int(tokens * (1 - objective.mask_ratio))).expand(count, -1)
    seen = encoder.blocks(encoder.embed(x_a)[:, : visible.shape[1]])
    full = nn.functional.pad(objective.enter(seen), (0, 0, 0, tokens - visible.shape[1]))
    total: Tensor = objective.leave(objective.decoder(full)).sum()
    return total


def bare_simmim(objective: Any, x_a: Tensor, _: Tensor) -> Tensor:
    """The encoder over all tokens and a linear layer."""
    encoder = objective.encoder
    total: Tensor = objective.predict(encoder.blocks(encoder.embed(x_a))).sum()
    return total


@cache
def blocks_of(rows: int, columns: int) -> tuple[Tensor, ...]:
    """Blocks as I-JEPA draws them, once: contexts and targets with their masks."""
    torch.manual_seed(0)
    context, targets = draw_blocks(
        torch.ones(BATCH, rows * columns, dtype=torch.bool), (rows, columns)
    )
    return (*positions_of(context), *positions_of(targets))


def bare_i_jepa(objective: Any, x_a: Tensor, _: Tensor) -> Tensor:
    """The teacher over all tokens, the encoder over a context, the predictor."""
    encoder, teacher = objective.encoder, objective.average.teacher
    context, valid, targets, asked = blocks_of(*encoder.grid)
    with torch.no_grad():
        teacher.blocks(teacher.embed(x_a))
    seen = encoder.blocks(gather_tokens(encoder.embed(x_a), context), valid)
    predictor = objective.predictor
    total: Tensor = predictor(seen, context, targets, encoder.positions, valid, asked).sum()
    return total


METHODS: dict[str, Callable[[Any, Tensor, Tensor], Tensor]] = {
    "i-jepa": bare_i_jepa,
    "mae": bare_mae,
    "simmim": bare_simmim,
    "moco-v3": bare_taught,
    "directpred": bare_taught,
    "mixed-barlow-twins": bare_mixed,
    "dino": bare_crops,
    "batch-styles": bare_pair,
    "simclr": bare_pair,
    "barlow-twins": bare_pair,
    "vicreg": bare_pair,
    "simsiam": bare_predicted,
    "byol": bare_taught,
}
"""The objectives, and what their networks do in a step."""


def lightly_pair(make: Callable[[Any], Any]) -> Callable[[Any, Tensor, Tensor], Any]:
    """A loss of lightly's over the embeddings of two views."""

    def prepare(objective: Any, x_a: Tensor, x_b: Tensor) -> Callable[[], Tensor]:
        criterion = make(_loss())
        return lambda: criterion(embed(objective, x_a), embed(objective, x_b))

    return prepare


def lightly_simsiam(objective: Any, x_a: Tensor, x_b: Tensor) -> Callable[[], Tensor]:
    """Half the negative cosine each way."""
    criterion = _loss().NegativeCosineSimilarity()

    def loss() -> Tensor:
        z_a, z_b = embed(objective, x_a), embed(objective, x_b)
        p_a, p_b = objective.predictor(z_a), objective.predictor(z_b)
        total: Tensor = 0.5 * (criterion(p_a, z_b.detach()) + criterion(p_b, z_a.detach()))
        return total

    return loss


def lightly_byol(objective: Any, x_a: Tensor, x_b: Tensor) -> Callable[[], Tensor]:
    """A momentum copy, updated before the pass as in lightly's example."""
    from lightly.models.utils import deactivate_requires_grad, update_momentum

    criterion = _loss().NegativeCosineSimilarity()
    teacher = copy.deepcopy(nn.ModuleList([objective.encoder, objective.projector]))
    deactivate_requires_grad(teacher)

    def target(x: Tensor) -> Tensor:
        encoder, projector = teacher
        embedding: Tensor = projector(encoder(x).pooled)
        return embedding.detach()

    def loss() -> Tensor:
        update_momentum(objective.encoder, teacher[0], m=0.99)
        update_momentum(objective.projector, teacher[1], m=0.99)
        p_a = objective.predictor(embed(objective, x_a))
        z_a = target(x_a)
        p_b = objective.predictor(embed(objective, x_b))
        z_b = target(x_b)
        total: Tensor = 0.5 * (criterion(p_a, z_b) + criterion(p_b, z_a))
        return total

    return loss


def lightly_dino(objective: Any, x_a: Tensor, x_b: Tensor) -> Callable[[], Tensor]:
    """A pass a crop, the teacher updated before, the loss over lists."""
    from lightly.models.utils import deactivate_requires_grad, update_momentum

    criterion = _loss().DINOLoss(output_dim=objective.projector.prototypes.shape[0])
    teacher = copy.deepcopy(nn.ModuleList([objective.encoder, objective.projector]))
    deactivate_requires_grad(teacher)
    small = [x_a[:, :, ::2, ::2].contiguous()] * objective.local_crops

    def loss() -> Tensor:
        update_momentum(objective.encoder, teacher[0], m=0.99)
        update_momentum(objective.projector, teacher[1], m=0.99)
        encoder, head = teacher
        with torch.no_grad():
            targets = [head(encoder(x).pooled) for x in (x_a, x_b)]
        outputs = [embed(objective, x) for x in (x_a, x_b, *small)]
        total: Tensor = criterion(targets, outputs, epoch=0)
        return total

    return loss


LIGHTLY: dict[str, Callable[[Any, Tensor, Tensor], Any]] = {
    "simclr": lightly_pair(lambda loss: loss.NTXentLoss(temperature=0.2)),
    "barlow-twins": lightly_pair(lambda loss: loss.BarlowTwinsLoss()),
    "vicreg": lightly_pair(lambda loss: loss.VICRegLoss()),
    "simsiam": lightly_simsiam,
    "byol": lightly_byol,
    "dino": lightly_dino,
}
"""What lightly has an example of."""


def _loss() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own dependencies
        from lightly import loss
    return loss


def peak(side: str, method: str) -> float:
    """Megabytes that a step adds to the peak of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.objectives", side, method]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print what `peak` asks for."""
    side, method = sys.argv[1:]
    step = ours_of(method) if side == "ours" else bare_of(method)
    before = peak_of_this_process()
    step()
    print(peak_of_this_process() - before)


if __name__ == "__main__":
    main()
