"""What goes wrong in DINO: a crop is compared with itself, local crops reach the teacher, the centre or
the temperature lags, a schedule is lost in a checkpoint, or all samples get the same output."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tacita.data.batch import Batch, InputSpec
from tacita.data.modality import find
from tacita.encoder import Encoder, Encoding
from tacita.encoders import build
from tacita.errors import ConfigError, DivergedError
from tacita.pretrain.dino import DINO, DINOHead, dino_loss, pooled, reads_at
from tests.helpers import assert_close, image_batch, series_batch
from tests.pretrain.derivation import assert_derived
from tests.pretrain.training import embedded, spread, train_on_digits

SMALL = {"residual-cnn": {"width": 8}, "vit": {"dim": 24, "depth": 2}}


def by_hand(student: np.ndarray, teacher: np.ndarray, centre: np.ndarray) -> float:
    """Equations 1 and 3, one pair of crops and one sample at a time; temperatures 0.5 and 0.3."""
    total, pairs = 0.0, 0
    for u, v in itertools.product(range(len(teacher)), range(len(student))):
        if u == v:
            continue
        pairs += 1
        for t, s in zip(teacher[u], student[v], strict=True):
            p_t = np.exp((t - centre) / 0.3) / np.exp((t - centre) / 0.3).sum()
            p_s = np.exp(s / 0.5) / np.exp(s / 0.5).sum()
            total -= (p_t * np.log(p_s)).sum() / teacher.shape[1]
    return total / pairs


def logits(views: int = 4, crops: int = 2, rows: int = 3, dim: int = 5) -> list[torch.Tensor]:
    """Student's, teacher's and a centre, in float64, always the same."""
    generator = torch.Generator().manual_seed(0)
    shapes = (views, rows, dim), (crops, rows, dim), (dim,)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def make(encoder: str = "residual-cnn", **options: object) -> DINO:
    torch.manual_seed(0)
    return DINO(build(encoder, InputSpec("images", (1, 8, 8)), **SMALL[encoder]), **options)


def stepped(objective: DINO) -> DINO:
    """After a step of plain gradient descent."""
    objective(image_batch()[1]).total.backward()
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    return objective


def networks(objective: DINO) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """States of student and teacher under the same names."""
    student = torch.nn.ModuleList([objective.encoder, objective.projector])
    return copy.deepcopy(student.state_dict()), copy.deepcopy(
        objective.average.teacher.state_dict()
    )


@pytest.mark.parametrize("views", [2, 5])
def test_loss_and_gradient_match_a_direct_derivation_and_the_teacher_gets_no_gradient(views):
    student, teacher, centre = logits(views)
    assert_derived(
        lambda s, t: dino_loss(s, t, centre, 0.5, 0.3),
        lambda s, t: by_hand(s, t, centre.numpy()),
        [student, teacher],
        still=(1,),
    )


@given(st.integers(2, 50), st.integers(2, 6), st.sampled_from([0.04, 0.1, 1.0]))
def test_uniform_outputs_give_log_k(prototypes, views, temperature):
    nothing = torch.zeros(views, 3, prototypes, dtype=torch.float64)
    loss = dino_loss(nothing, nothing[:2], nothing[0, 0], 0.1, temperature)
    assert loss.item() == pytest.approx(math.log(prototypes))


def test_what_is_added_to_the_teacher_and_to_the_centre_changes_nothing():
    student, teacher, centre = logits()
    anything = torch.randn(5, dtype=torch.float64)
    expected = dino_loss(student, teacher, centre)
    assert_close(dino_loss(student, teacher + anything, centre + anything), expected)
    assert not torch.isclose(dino_loss(student, teacher + anything, centre), expected)


def test_a_crop_is_never_compared_with_itself():
    # So sure of one prototype, of another in each crop, that agreement costs nothing.
    said, centre = 100 * torch.eye(6).view(2, 3, 6), torch.zeros(6)
    each_others = said.flip(0)
    assert dino_loss(each_others, said, centre, 1.0, 1.0).item() == pytest.approx(0, abs=1e-9)
    assert dino_loss(said, said, centre, 1.0, 1.0).item() == pytest.approx(100)


def test_half_precision_is_raised_before_the_softmax():
    student, teacher, centre = (z.bfloat16() for z in logits())
    with torch.autocast("cpu", torch.bfloat16):
        loss = dino_loss(student, teacher, centre)
    assert loss.dtype == torch.float32
    assert_close(loss, dino_loss(student.float(), teacher.float(), centre.float()))


def test_the_head_gives_cosines_with_its_prototypes():
    head = DINOHead(6, 8, 5, 7)
    features = torch.randn(4, 6)
    z = head.layers(features).detach().numpy()
    prototypes = head.prototypes.detach().numpy()
    cosines = (z / np.linalg.norm(z, axis=1)[:, None]) @ (
        prototypes / np.linalg.norm(prototypes, axis=1)[:, None]
    ).T
    assert_close(head(features), torch.from_numpy(cosines))
    with torch.no_grad():
        head.prototypes *= 9.0  # lengths mean nothing: the norms are fixed at 1
    assert_close(head(features), torch.from_numpy(cosines))


@pytest.mark.parametrize("learning", [0.0, 1.0])
def test_frozen_prototypes_count_and_get_a_gradient_of_zero(learning):
    head, features = DINOHead(6, 8, 5, 7), torch.randn(4, 6)
    outputs = head(features, torch.tensor(learning))
    assert_close(outputs, head(features))
    outputs.square().sum().backward()
    assert bool((head.prototypes.grad != 0).any()) == bool(learning)
    assert (head.layers[0].weight.grad != 0).any()


def test_prototypes_are_frozen_for_the_first_share_of_the_steps():
    objective = make(frozen_share=0.2)
    objective.start(10)
    moving = []
    for step in range(4):
        objective.zero_grad()
        objective(image_batch()[1]).total.backward()
        moving.append(bool((objective.projector.prototypes.grad != 0).any()))
        objective.after_step(step)
    assert moving == [False, False, True, True]


def test_the_teachers_temperature_rises_and_stays():
    objective = make(teacher_temperature=(0.02, 0.06), temperature_warmup=0.5)
    assert objective.temperature.item() == pytest.approx(0.06)  # as long as nothing was started
    objective.start(10)
    seen = []
    for step in range(8):
        seen.append(objective.temperature.item())
        objective.after_step(step)
    assert seen == pytest.approx([0.02, 0.028, 0.036, 0.044, 0.052, 0.06, 0.06, 0.06])


def test_the_centre_follows_the_mean_of_the_teachers_outputs_over_all_parts_of_a_batch():
    objective, (_, batch) = make(centre_momentum=0.6), image_batch()
    said: list[torch.Tensor] = []
    targets = objective.targets
    objective.targets = lambda crops: said.append(targets(crops)) or said[-1]
    for step, rate in enumerate((0, 1 / 2, 0.6, 0.6)):  # a plain mean, until the momentum is less
        objective(batch)
        objective(batch)  # two parts a step
        before = objective.centre.clone()
        objective.after_step(step)
        mean = torch.cat([z.flatten(0, 1) for z in said]).mean(0)
        assert_close(objective.centre, rate * before + (1 - rate) * mean)
        said.clear()
    assert objective.centre.abs().max() > 0


def test_without_a_step_or_in_evaluation_the_centre_stays():
    objective, (_, batch) = make(), image_batch()
    objective.after_step(0)
    objective.eval()(batch)
    objective.after_step(1)
    assert (objective.centre == 0).all()


def test_a_centre_of_momentum_1_stays_at_zero():
    objective = stepped(make(centre_momentum=1.0))
    objective.after_step(0)
    assert (objective.centre == 0).all()


def test_a_saved_run_goes_on_with_its_centre_and_schedules():
    objective = make(frozen_share=0.5)
    objective.start(10)
    for step in range(3):
        stepped(objective).after_step(step)
    other = make(frozen_share=0.5)
    other.start(10)
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.centre, objective.centre)
    assert (other.centre != 0).any()
    assert torch.equal(other.temperature, objective.temperature)
    assert torch.equal(other.progress, torch.tensor(0.3))


class Counting(Encoder):
    """Remembers what passed; features are means of pixels."""

    dim = 4
    modalities = ("images",)

    def __init__(self) -> None:
        super().__init__()
        self.spec = InputSpec("images", (1, 8, 8))
        self.weight = torch.nn.Parameter(torch.randn(4))
        self.seen: list[tuple[int, ...]] = []

    def forward(self, batch: Batch) -> Encoding:
        x = batch.x
        self.seen.append(tuple(x.shape))
        pooled = x.mean((1, 2, 3))[:, None] * self.weight
        return Encoding(pooled[:, None], pooled)


def test_crops_of_one_size_pass_together_and_local_ones_by_the_student_only():
    _, batch = image_batch()
    local = find("images").crops(Counting().spec, scale=(0.1, 0.4), size=0.5)
    objective = DINO(Counting(), local_crops=3, local_views=local)
    student, teacher = objective.encoder.seen, objective.average.teacher[0].seen
    student.clear()
    objective(batch)
    assert student == [(32, 1, 8, 8), (48, 1, 4, 4)]
    assert teacher == [(32, 1, 8, 8)]


def test_what_is_kept_is_the_teacher():
    objective = stepped(make())
    objective.after_step(0)
    student, teacher = networks(objective)
    assert any((student[name] != teacher[name]).any() for name in teacher)
    objective.finish()
    student, after = networks(objective)
    assert all(torch.equal(student[name], teacher[name]) for name in teacher)
    assert all(torch.equal(after[name], teacher[name]) for name in teacher)


def test_features_stand_in_the_order_of_their_crops():
    _, batch = image_batch()
    crops = [batch.with_x(factor * batch.x) for factor in (1, 2)]
    crops.append(batch.with_x(3 * batch.x[:, :, ::2, ::2]))
    encoder = Counting()
    expected = torch.cat([encoder(crop.x).pooled for crop in crops])
    assert_close(pooled(encoder, crops), expected)


def test_padding_of_series_is_never_read():
    spec, batch = series_batch()
    torch.manual_seed(0)
    objective = DINO(build("residual-conv", spec, width=8, depth=2))
    rubbish = batch.with_x(batch.x.masked_fill(~batch.mask[:, :, None], 1e3))
    torch.manual_seed(1)
    clean = objective(batch).total
    torch.manual_seed(1)
    assert_close(objective(rubbish).total, clean)


@pytest.mark.parametrize(
    "spec, encoder, shape",
    [
        (InputSpec("images", (1, 8, 8)), "vit", (1, 8, 8)),  # of half of it nothing would remain
        (InputSpec("images", (1, 16, 20)), "vit", (1, 8, 10)),
        (InputSpec("images", (1, 16, 20)), "residual-cnn", (1, 8, 10)),
        (InputSpec("series", (15, 3)), "residual-conv", (15, 3)),
        (InputSpec("series", (16, 3)), "series-transformer", (8, 3)),
        (InputSpec("tables", (14,), (0,) * 14), "feature-tokens", (14,)),
    ],
    ids=str,
)
def test_local_crops_are_half_the_size_where_something_remains(spec, encoder, shape):
    objective = DINO(build(encoder, spec))
    x = torch.randn(4, *spec.shape)
    batch = Batch(x, torch.zeros(4), torch.arange(4))
    assert objective.local_views(batch).x.shape[1:] == shape
    assert objective.global_views(batch).x.shape == batch.x.shape
    assert objective(batch).total.isfinite()


def test_an_encoder_of_one_size_gets_local_crops_of_that_size():
    class Rigid(Counting):
        def __init__(self) -> None:
            super().__init__()
            self.spec = InputSpec("images", (1, 16, 16))

        def forward(self, batch: Batch) -> Encoding:
            return super().forward(batch.with_x(batch.x.view(len(batch), 1, 16, 16)))

    encoder = Rigid().train()
    assert reads_at(encoder, 1.0)
    assert not reads_at(encoder, 0.5)
    assert encoder.training
    batch = Batch(torch.randn(4, 1, 16, 16), torch.zeros(4), torch.arange(4))
    assert DINO(encoder).local_views(batch).x.shape == batch.x.shape


def test_a_teacher_of_momentum_0_is_the_student_statistics_included():
    objective = stepped(make(momentum=0.0))
    objective.after_step(0)
    student, teacher = networks(objective)
    assert student.keys() == teacher.keys()
    assert all(torch.equal(student[name], teacher[name]) for name in student)


def test_a_teacher_of_momentum_1_keeps_its_weights_and_gets_no_gradient():
    objective = stepped(make(momentum=1.0))
    weights = [p.clone() for p in objective.average.parameters()]
    objective.start(10)
    objective.after_step(0)
    assert all(map(torch.equal, objective.average.parameters(), weights))
    assert all(p.grad is None for p in objective.average.parameters())


def test_without_local_crops_two_global_ones_remain():
    total = make(local_crops=0)(image_batch()[1]).total
    total.backward()
    assert total.isfinite()


def test_batches_of_one_are_refused():
    with pytest.raises(ConfigError, match="batch of 1"):
        make()(image_batch(1)[1])


def test_crops_without_difference_and_images_without_content_still_give_a_loss():
    def same(batch: Batch) -> Batch:
        return batch

    objective, (_, batch) = make(global_views=same, local_views=same), image_batch()
    for x in (batch.x, torch.zeros_like(batch.x)):
        total = objective(batch.with_x(x)).total
        total.backward()
        assert total.isfinite()
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.grad is not None)


def test_a_teacher_that_diverged_is_named_and_does_not_reach_the_centre():
    objective, (_, batch) = make(), image_batch()
    objective.after_step(0)
    with torch.no_grad():
        objective.average.teacher[1].layers[0].weight.fill_(torch.nan)
    with pytest.raises(DivergedError, match="teacher of dino"):
        objective(batch)
    objective.after_step(1)
    assert objective.centre.isfinite().all()


@pytest.mark.parametrize(
    "options",
    [
        {"prototypes": 1},
        {"bottleneck": 1},
        {"local_crops": -1},
        {"student_temperature": 0.0},
        {"teacher_temperature": (0.04, 0.0)},
        {"temperature_warmup": 0.0},
        {"centre_momentum": math.nan},
        {"momentum": 1.1},
        {"frozen_share": 2.0},
    ],
    ids=lambda options: next(iter(options)),
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        make(**options)


@pytest.mark.long
@pytest.mark.parametrize(
    "options, least, most",
    [({}, 0.05, 1.0), ({"centre_momentum": 1.0, "teacher_temperature": (0.1, 0.1)}, 0.0, 0.02)],
    ids=["whole", "without centring and sharpening"],
)
def test_embeddings_collapse_without_centring_and_sharpening_only(options, least, most):
    # They are close together at first: those that do not collapse come apart again, slowly.
    objective = make(**options)
    train_on_digits(objective, steps=200, rate=1e-3)
    assert least <= spread(embedded(objective)) <= most
