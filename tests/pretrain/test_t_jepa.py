"""What goes wrong in T-JEPA: columns numbered one off, sets of targets that are one and the same, a
target among the context, and tables that are small, constant, categorical or full of holes."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from tacita.adapt.linear_probe import LinearProbe
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.pretrain import t_jepa
from tacita.pretrain.t_jepa import TJEPA, bounds, draw_columns, t_jepa_loss
from tests.helpers import assert_close, table_batch


def make(encoder: str = "ft-transformer", **options: object) -> tuple[TJEPA, Batch]:
    spec, batch = table_batch()
    torch.manual_seed(0)
    return TJEPA(build(encoder, spec, dim=16), predictor_dim=8, **options), batch


def numbers(columns: int, **options: object) -> TJEPA:
    torch.manual_seed(0)
    spec = InputSpec("tables", (columns,), (0,) * columns)
    encoder = build("ft-transformer", spec, dim=16, depth=1, heads=2)
    return TJEPA(encoder, predictor_dim=8, predictor_depth=1, predictor_heads=2, **options)


def rows(x: torch.Tensor) -> Batch:
    return Batch(x, torch.full((len(x),), -1), torch.arange(len(x)))


def moved(**options: object) -> TJEPA:
    """The student after a step, so that it differs from its teacher."""
    objective, batch = make(**options)
    objective(batch).total.backward()
    with torch.no_grad():
        for parameter in objective.parameters():
            if parameter.grad is not None:
                parameter -= parameter.grad
    return objective


# The draw


@settings(deadline=None, max_examples=80)
@given(
    columns=st.integers(2, 30),
    context=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)).map(sorted),
    target=st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)).map(sorted),
    seed=st.integers(0, 10**6),
)
def test_context_and_targets_are_disjoint_sets_of_one_size_a_batch(columns, context, target, seed):
    low, high = bounds(context, columns)
    least, most = bounds(target, columns)
    assume(low + least <= columns)
    torch.manual_seed(seed)
    seen, sets = draw_columns(5, columns, targets=3, context=context, target=target)
    assert low <= seen.shape[1] <= high
    assert least <= sets.shape[2] <= most
    assert sets.shape[:2] == (5, 3)
    for row in range(5):
        among = set(seen[row].tolist())
        assert len(among) == seen.shape[1]
        for group in sets[row].tolist():
            assert len(set(group)) == len(group)
            assert not among & set(group)
            assert set(group) | among <= set(range(columns))


def test_sizes_are_any_from_the_lowest_to_the_highest():
    torch.manual_seed(0)
    draws = [draw_columns(1, 10, context=(0.2, 0.4), target=(0.3, 0.5)) for _ in range(200)]
    assert {draw.context.shape[1] for draw in draws} == {2, 3, 4}
    assert {draw.targets.shape[2] for draw in draws} == {3, 4, 5}


def test_targets_have_the_room_that_the_context_leaves():
    torch.manual_seed(0)
    sizes = set()
    for _ in range(200):
        seen, sets = draw_columns(1, 10, context=(0.1, 0.9), target=(0.2, 0.9))
        sizes.add((seen.shape[1], sets.shape[2]))
        assert seen.shape[1] + sets.shape[2] <= 10
    assert {seen for seen, _ in sizes} == set(range(1, 9))
    assert (8, 2) in sizes


def test_every_column_is_seen_and_predicted_as_often_as_any_other():
    torch.manual_seed(0)
    seen, sets = draw_columns(4000, 13, context=(0.3, 0.3), target=(0.3, 0.3))
    for drawn in (seen, *sets.unbind(1)):
        counts = np.bincount(drawn.flatten().numpy(), minlength=13)
        assert counts.sum() == 4000 * 4
        assert chisquare(counts).pvalue > 1e-3


def test_sets_of_targets_are_drawn_apart_from_one_another():
    torch.manual_seed(0)
    _, sets = draw_columns(4000, 9, context=(0.33, 0.33), target=(0.33, 0.33))
    first, second = (
        torch.zeros(4000, 9, dtype=torch.bool).scatter(1, sets[:, group], True) for group in (0, 1)
    )
    # Two independent triples of the same six columns share 0, 1, 2, 3 of them 1, 9, 9, 1 times in 20.
    shared = np.bincount((first & second).sum(1).numpy(), minlength=4)
    assert chisquare(shared, 4000 * np.array([1, 9, 9, 1]) / 20).pvalue > 1e-3


def test_rows_are_drawn_apart_from_one_another():
    torch.manual_seed(0)
    seen, sets = draw_columns(200, 30)
    assert len(seen.sort(1).values.unique(dim=0)) > 20
    assert len(sets[:, 0].sort(1).values.unique(dim=0)) > 150


# The objective


def test_loss_and_gradient_match_a_direct_derivation_and_targets_get_no_gradient():
    generator = torch.Generator().manual_seed(0)
    predicted, target = torch.randn(2, 2, 3, 2, 4, generator=generator)
    pairs = zip(predicted.double().flatten(), target.double().flatten(), strict=True)
    expected = np.mean([float(p - t) ** 2 for p, t in pairs])
    leaf, still = predicted.requires_grad_(), target.requires_grad_()
    loss = t_jepa_loss(leaf, still)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert still.grad is None
    assert_close(leaf.grad, 2 * (predicted - target) / predicted.numel())


def test_a_predictor_that_returns_the_targets_has_no_loss(monkeypatch):
    objective, batch = make()
    targets = []
    real = t_jepa.target_tokens
    monkeypatch.setattr(t_jepa, "target_tokens", lambda *a: targets.append(real(*a)) or targets[0])
    torch.manual_seed(1)
    assert objective(batch).total.item() > 0.1
    monkeypatch.setattr(objective.predictor, "forward", lambda *a: targets[0].clone())
    torch.manual_seed(1)
    assert objective(batch).total.item() == 0


@pytest.mark.parametrize("encoder", ["ft-transformer", "feature-tokens"])
def test_the_student_reads_the_columns_of_its_context_only(encoder, monkeypatch):
    objective, batch = make(encoder)
    draws = []
    monkeypatch.setattr(
        t_jepa, "draw_columns", lambda *a, **k: draws.append(draw_columns(*a, **k)) or draws[-1]
    )
    x = batch.x.clone().requires_grad_()
    objective(batch.with_x(x)).total.backward()
    seen = torch.zeros_like(x, dtype=torch.bool).scatter(1, draws[0].context, True)
    influence = x.grad[:, :13].abs()  # a category has no gradient
    assert (influence[~seen[:, :13]] == 0).all()
    assert (influence[seen[:, :13]] > 0).all()


def test_first_and_last_column_are_seen_and_predicted_under_their_own_vectors(monkeypatch):
    # A register before the columns must not shift them: the tokens that the student and the
    # predictor get at a column's number are that column's.
    objective, batch = make(context=(0.07, 0.07), target=(0.07, 0.07), targets=1)
    encoder = objective.encoder
    monkeypatch.setattr(
        t_jepa,
        "draw_columns",
        lambda *a, **k: t_jepa.ColumnDraw(torch.full((16, 1), 13), torch.zeros(16, 1, 1).long()),
    )
    seen = []
    blocks = encoder.blocks
    monkeypatch.setattr(encoder, "blocks", lambda t, m=None: (seen.append(t), blocks(t, m))[1])
    objective(batch)
    assert torch.equal(seen[0], encoder.embed(batch.x)[:, 13:])


@pytest.mark.parametrize("encoder", ["ft-transformer", "feature-tokens"])
def test_no_gradient_reaches_the_teacher_and_all_that_is_trained_gets_one(encoder):
    objective, batch = make(encoder)
    objective(batch).total.backward()
    assert all(p.grad is None for p in objective.average.parameters())
    trained = torch.nn.ModuleList([objective.encoder, objective.predictor])
    for name, parameter in trained.named_parameters():
        assert parameter.grad.abs().max() > 0, name


def test_a_teacher_of_momentum_0_is_the_student_and_of_1_stays():
    objective = moved(momentum=0.0)
    student = [p.clone() for p in objective.encoder.parameters()]
    assert not all(map(torch.equal, objective.average.teacher.parameters(), student))
    objective.after_step(0)
    assert all(map(torch.equal, objective.average.teacher.parameters(), student))
    objective = moved(momentum=1.0)
    before = [p.clone() for p in objective.average.parameters()]
    objective.start(10)
    objective.after_step(0)
    assert all(map(torch.equal, objective.average.parameters(), before))


@pytest.mark.parametrize("step, rate", [(0, 0.9), (5, 0.95), (10, 1.0)])
def test_the_momentum_rises_along_a_line(step, rate):
    objective = moved(momentum=0.9)
    objective.start(10)
    student, before = objective.encoder.column.clone(), objective.average.teacher.column.clone()
    objective.after_step(step)
    assert_close(objective.average.teacher.column, rate * before + (1 - rate) * student)


def test_what_is_kept_is_the_teacher():
    objective = moved()
    teacher = copy.deepcopy(objective.average.teacher.state_dict())
    objective.finish()
    kept = objective.encoder.state_dict()
    assert all(torch.equal(kept[name], teacher[name]) for name in teacher)


# Tables as they are


@pytest.mark.parametrize("columns", [2, 3, 13])
def test_tables_of_few_columns_have_something_to_predict(columns):
    objective = numbers(columns)
    for seed in range(10):
        torch.manual_seed(seed)
        losses = objective(rows(torch.randn(6, columns)))
        losses.total.backward()
        assert losses.total.item() > 0


def test_a_single_column_is_refused():
    with pytest.raises(ConfigError, match="single token"):
        numbers(1)


def test_holes_and_columns_that_are_constant_or_empty_are_learnt_from():
    x = torch.randn(40, 6)
    x[torch.rand(40, 6) < 0.3] = torch.nan
    x[:, 1] = torch.nan
    x[:, 2] = 7.0
    x[:, 5] = (torch.arange(40) % 3).float()
    x[3, 5] = torch.nan
    categories = ((),) * 5 + (("a", "b", "c"),)
    data = Dataset.of(
        "tables", x, torch.full((40,), -1), categories=categories, missing="impute"
    ).normalised()
    objective = TJEPA(build("ft-transformer", data.spec, dim=16, depth=1), predictor_dim=8)
    history = train(objective, data, steps=5, batch_size=20)
    assert np.isfinite(history.final["total"])
    batch = data.take(torch.arange(40))
    tokens = objective.encoder(batch).tokens
    assert tokens.isfinite().all()
    empty = objective.encoder.embed(batch.x)[:, [1, 2]]
    assert (empty == empty[:1]).all(), "what is the same for all rows says nothing"


def test_a_missing_number_is_read_as_the_mean():
    objective, batch = make()
    x = batch.x.clone()
    x[:, 4] = 0.0
    assert_close(objective.encoder.embed(x)[:, 4], objective.encoder.column[4].expand(16, -1))


def test_categories_that_training_never_saw_have_features():
    objective, batch = make()
    x = batch.x.clone()
    x[:, 13] = 9.0
    torch.manual_seed(1)
    assert objective(batch.with_x(x)).total.isfinite()
    features = objective.encoder(x).pooled
    assert features.isfinite().all()
    assert (torch.pdist(features) > 0).all()


def test_a_table_that_never_varies_is_predicted_soon():
    objective = numbers(6)
    batch = rows(torch.zeros(32, 6))
    optimiser = torch.optim.Adam(objective.parameters(), lr=1e-2)
    torch.manual_seed(0)
    for step in range(150):
        optimiser.zero_grad()
        total = objective(batch).total
        total.backward()
        optimiser.step()
        objective.after_step(step)
    assert total.item() < 0.02


@pytest.mark.parametrize(
    "options, named",
    [
        ({"targets": 0}, "targets"),
        ({"context": (0.4, 0.1)}, "context"),
        ({"context": (0.0, 0.1)}, "context"),
        ({"target": (0.5, 1.0)}, "target"),
        ({"target": (float("nan"), 0.5)}, "target"),
        ({"context": (0.5, 0.6), "target": (0.6, 0.7)}, "target"),
        ({"momentum": -1.0}, "momentum"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, named):
    with pytest.raises(ConfigError, match=f"{named}="):
        make(**options)


def test_an_encoder_without_tokens_is_refused():
    with pytest.raises(ConfigError, match=r"(?s)ResidualConv.*series-transformer"):
        TJEPA(build("residual-conv", InputSpec("series", (16, 2))))


def test_a_pretrained_encoder_is_probed():
    data = load("wine").normalised()
    torch.manual_seed(0)
    objective = TJEPA(build("ft-transformer", data.spec, dim=16, depth=1), predictor_dim=8)
    train(objective, data, steps=30, batch_size=64)
    assert LinearProbe(objective.encoder).fit(data).score(data) > 0.9


def test_what_the_context_tells_is_predicted_beyond_the_column(monkeypatch):
    # All columns are copies of one number, so that any of them tells the others; a prediction from
    # the column alone would fit another row's targets as well.
    objective = numbers(6)
    optimiser = torch.optim.Adam(objective.parameters(), lr=5e-3)
    torch.manual_seed(0)
    for step in range(200):
        optimiser.zero_grad()
        objective(rows(torch.randn(32, 1).expand(-1, 6))).total.backward()
        optimiser.step()
        objective.after_step(step)
    batch = rows(torch.randn(64, 1).expand(-1, 6))
    own = objective(batch).total.item()
    real = t_jepa.target_tokens
    monkeypatch.setattr(t_jepa, "target_tokens", lambda e, x, *a: real(e, x.roll(1, 0), *a))
    assert own < 0.2 * objective(batch).total.item()
