"""What goes wrong in I-JEPA: a target among the context, padding counted, a teacher that is trained,
and features that collapse while the loss falls."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tacita.data.batch import Batch, InputSpec
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.parts.blocks import draw_blocks
from tacita.pretrain import i_jepa
from tacita.pretrain.i_jepa import IJEPA, i_jepa_loss
from tests.helpers import BATCHES, assert_close, samples_of, series_batch

ENCODERS = {"images": "vit", "series": "series-transformer"}


def make(modality: str = "images", **options: object) -> tuple[IJEPA, Batch]:
    spec, batch = BATCHES[modality]()
    torch.manual_seed(0)
    encoder = build(ENCODERS[modality], spec, dim=24, depth=2)
    return IJEPA(encoder, predictor_dim=16, **options), batch


def moved(**options: object) -> IJEPA:
    """The student after a step, so that it differs from its teacher."""
    objective, batch = make(**options)
    objective(batch).total.backward()
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    return objective


def difference(objective: IJEPA) -> float:
    """How far the teacher is from the student."""
    pairs = zip(objective.average.teacher.parameters(), objective.encoder.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


def test_loss_and_gradient_match_a_direct_derivation_and_targets_get_no_gradient():
    generator = torch.Generator().manual_seed(0)
    predicted, target = 2 * torch.randn(2, 2, 2, 3, 4, generator=generator)
    valid = torch.tensor([[[1, 1, 0], [1, 0, 0]], [[1, 1, 1], [0, 0, 0]]], dtype=torch.bool)
    errors = np.abs((predicted - target).double().numpy())
    each = [
        sum(e * e / 2 if e < 1 else e - 0.5 for e in errors[tuple(at)]) / 4
        for at in np.argwhere(valid.numpy())
    ]
    assert len(each) == 6
    leaf, still = predicted.requires_grad_(), target.requires_grad_()
    loss = i_jepa_loss(leaf, still, valid)
    assert loss.item() == pytest.approx(np.mean(each), rel=1e-6)
    loss.backward()
    assert still.grad is None
    assert_close(leaf.grad, (predicted - target).clamp(-1, 1) / 4 / 6 * valid[..., None])


@pytest.mark.parametrize("modality", ENCODERS)
def test_a_predictor_that_returns_the_targets_has_no_loss(modality, monkeypatch):
    objective, batch = make(modality)
    targets = []
    real = i_jepa.target_tokens
    monkeypatch.setattr(i_jepa, "target_tokens", lambda *a: targets.append(real(*a)) or targets[0])
    torch.manual_seed(1)
    assert objective(batch).total.item() > 0.1
    monkeypatch.setattr(objective.predictor, "forward", lambda *a: targets[0].clone())
    torch.manual_seed(1)
    assert objective(batch).total.item() == 0


@pytest.mark.parametrize("modality", ENCODERS)
def test_no_target_is_ever_among_what_the_student_sees(modality, monkeypatch):
    objective, batch = make(modality)
    seen = {}
    real = objective.predictor.forward

    def watch(context, context_at, target_at, positions, context_valid, target_valid):
        seen.update(context=(context_at, context_valid), target=(target_at, target_valid))
        return real(context, context_at, target_at, positions, context_valid, target_valid)

    monkeypatch.setattr(objective.predictor, "forward", watch)
    lengths = torch.full((16,), 16) if modality == "images" else -(-batch.lengths // 2)
    for _ in range(20):
        objective(batch)
        for row in range(16):
            context = seen["context"][0][row][seen["context"][1][row]]
            target = seen["target"][0][row][seen["target"][1][row]]
            assert not set(context.tolist()) & set(target.tolist())
            assert len(context) >= 1
            assert (len(target) > 0) == (lengths[row] > 1)
            assert max(context.tolist() + target.tolist()) < lengths[row]


def test_blocks_are_those_that_the_options_ask_for(monkeypatch):
    options = {
        "targets": 3,
        "target_scale": (0.1, 0.3),
        "target_aspect": (0.5, 2.0),
        "context_scale": (0.6, 0.7),
    }
    asked = []
    monkeypatch.setattr(
        i_jepa, "draw_blocks", lambda *a, **k: asked.append((a, k)) or draw_blocks(*a, **k)
    )
    objective, batch = make(**options)
    objective(batch)
    ((valid, grid), given), *_ = asked
    assert given == options
    assert valid.shape == (16, 16)
    assert grid == (4, 4)


def test_the_defaults_are_published():
    objective, _ = make()
    assert (objective.targets, objective.target_scale) == (4, (0.15, 0.2))
    assert (objective.target_aspect, objective.context_scale) == ((0.75, 1.5), (0.85, 1.0))


def test_no_gradient_reaches_the_teacher_and_all_that_is_trained_gets_one():
    objective, batch = make()
    objective(batch).total.backward()
    assert all(p.grad is None for p in objective.average.parameters())
    trained = [*objective.encoder.parameters(), *objective.predictor.parameters()]
    assert all(p.grad.abs().max() > 0 for p in trained)


def test_a_teacher_of_momentum_0_is_the_student_and_of_1_stays():
    objective = moved(momentum=0.0)
    assert difference(objective) > 0
    objective.after_step(0)
    assert difference(objective) == 0
    objective = moved(momentum=1.0)
    before = [p.clone() for p in objective.average.parameters()]
    objective.start(10)
    objective.after_step(0)
    assert all(map(torch.equal, objective.average.parameters(), before))


@pytest.mark.parametrize("step, rate", [(0, 0.9), (5, 0.95), (10, 1.0)])
def test_the_momentum_rises_along_a_line(step, rate):
    objective = moved(momentum=0.9)
    objective.start(10)
    student = objective.encoder.project.weight.clone()
    before = objective.average.teacher.project.weight.clone()
    objective.after_step(step)
    expected = rate * before + (1 - rate) * student
    assert_close(objective.average.teacher.project.weight, expected)


def test_what_is_kept_is_the_teacher():
    objective = moved()
    teacher = [p.clone() for p in objective.average.parameters()]
    objective.finish()
    assert all(map(torch.equal, objective.encoder.parameters(), teacher))


def test_padding_of_series_is_neither_read_nor_predicted():
    objective, batch = make("series")
    torch.manual_seed(1)
    clean = objective(batch).total
    rubbish = batch.with_x(batch.x.masked_fill(~batch.mask[:, :, None], torch.nan))
    torch.manual_seed(1)
    assert torch.equal(objective(rubbish).total, clean)
    clean.backward()
    assert all(p.grad.isfinite().all() for p in objective.parameters() if p.requires_grad)


def test_series_of_one_token_have_nothing_to_predict():
    spec, batch = series_batch(4)
    short = batch.with_samples(samples_of(batch.x, torch.ones(4, dtype=torch.int64)))
    losses = IJEPA(build("series-transformer", spec))(short)
    losses.total.backward()
    assert losses.total.item() == 0


def test_series_shorter_than_the_longest_are_a_batch_too():
    spec, batch = series_batch(4, unequal=False)
    objective = IJEPA(build("series-transformer", spec, patch=2))
    short = batch.with_samples(samples_of(batch.x[:, :6], torch.full((4,), 6)))
    assert objective(short).total.item() > 0


@pytest.mark.parametrize("shape, patch", [((1, 2, 2), 1), ((1, 8, 2), 2), ((3, 5, 7), 2)])
def test_tiny_and_long_grids_have_something_to_predict(shape, patch):
    spec = InputSpec("images", shape)
    torch.manual_seed(0)
    objective = IJEPA(build("vit", spec, patch=patch, dim=24, depth=1))
    batch = Batch(torch.randn(8, *shape), torch.full((8,), -1), torch.arange(8))
    for _ in range(10):
        losses = objective(batch)
        losses.total.backward()
        assert losses.total.item() > 0


def test_networks_without_several_tokens_are_refused():
    with pytest.raises(ConfigError, match=r"(?s)ResidualCNN.*vit"):
        IJEPA(build("residual-cnn", InputSpec("images", (1, 8, 8))))
    with pytest.raises(ConfigError, match="single token"):
        IJEPA(build("vit", InputSpec("images", (1, 8, 8)), patch=8))


@pytest.mark.parametrize(
    "options",
    [
        {"targets": 0},
        {"targets": 65},
        {"target_scale": (0.2, 0.15)},
        {"target_scale": (0.0, 0.2)},
        {"target_aspect": (-1.0, 1.0)},
        {"context_scale": (0.85, 1.1)},
        {"context_scale": (float("nan"), 1.0)},
        {"momentum": 1.5},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        make(**options)


def test_what_the_context_tells_is_predicted_beyond_the_place(monkeypatch):
    # Every image is of one grey, so that any patch tells the others; a prediction from the place
    # alone would fit another image's targets as well.
    torch.manual_seed(0)
    spec = InputSpec("images", (1, 4, 4))
    encoder = build("vit", spec, patch=1, dim=24, depth=1)
    objective = IJEPA(encoder, predictor_dim=16, predictor_depth=1, predictor_heads=2)
    optimiser = torch.optim.Adam(objective.parameters(), lr=5e-3)

    def greys(count: int) -> Batch:
        x = torch.randn(count, 1, 1, 1).expand(-1, 1, 4, 4)
        return Batch(x, torch.full((count,), -1), torch.arange(count))

    for step in range(80):
        optimiser.zero_grad()
        objective(greys(32)).total.backward()
        optimiser.step()
        objective.after_step(step)
    batch = greys(64)
    own = objective(batch).total.item()
    real = i_jepa.target_tokens
    monkeypatch.setattr(i_jepa, "target_tokens", lambda e, x, *a: real(e, x.roll(1, 0), *a))
    assert own < 0.2 * objective(batch).total.item()
