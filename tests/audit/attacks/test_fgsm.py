"""The step is the closed form's, never beyond the budget or the data's range, and beats chance by far."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from tacita.adapt.linear_probe import LinearProbe
from tacita.adapt.supervised import Supervised
from tacita.adapt.trained import Trained
from tacita.audit.attack import RandomSigns, attacked
from tacita.audit.attacks.fgsm import FGSM, loss_gradient
from tacita.baselines.random_forest import RandomForest
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder, Encoding
from tacita.encoders import build
from tacita.errors import ConfigError, DataError
from tacita.learner import EncoderOnly, Learner
from tacita.modalities.load import load
from tacita.modalities.memory import as_dataset
from tests.helpers import assert_close
from tests.models import quick_model


class Plain(Encoder):
    """Samples as their own features, so that a linear probe is a linear model."""

    modalities = ("tables", "images")

    def __init__(self, spec: InputSpec) -> None:
        super().__init__()
        self.spec, self.dim = spec, math.prod(spec.shape)

    def forward(self, batch: Batch) -> Encoding:
        flat = batch.x.flatten(1)
        return Encoding(flat[:, None], flat)


def raw(data: Dataset) -> Batch:
    return Batch(data.samples, data.targets, data.index)


@pytest.fixture(scope="module")
def digits() -> tuple[Learner, Dataset]:
    """A small network that knows digits, and held-out ones, of 8 bits."""
    data = load("digits")
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))
    learnt, aside = data.subset(order[:1000]), data.subset(order[1000:1400])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build("residual-cnn", data.spec, width=8)
    trained = Trained(encoder, Supervised, engine={"steps": 150, "batch_size": 64}).fit(learnt)
    return trained, aside


def test_the_step_is_the_closed_form_of_a_linear_model() -> None:
    wine = load("wine")
    model = LinearProbe(Plain(wine.spec)).fit(wine)
    moved = FGSM().perturb(model, raw(wine), budget=0.25)
    weight = model.head[1].weight.detach().double() / model.head[0].std.double()  # type: ignore[index]
    wrong = torch.tensor(model.predict_proba(wine)) - torch.nn.functional.one_hot(wine.y)
    # d loss / d x = W^T (p - y) / std of the column.
    expected = (wrong.double() @ weight).sign()
    clear = (wrong.double() @ weight).abs() > 1e-9
    assert clear.double().mean() > 0.99
    assert torch.equal((moved.x - wine.x).sign().double()[clear], expected[clear])


def test_gradients_of_raw_samples_are_the_quotients_of_differences() -> None:
    data = load("wine")
    torch.manual_seed(0)
    model = LinearProbe(build("feature-tokens", data.spec, dim=8, depth=1)).fit(data)
    for part in (model.encoder, model.head):
        part.double()
    x = data.x[:3].double().requires_grad_()
    with torch.no_grad():
        step = 1e-3 * data.x.std(0).double()

    def loss(x: torch.Tensor) -> torch.Tensor:
        normal = model.data_.normaliser
        # The normaliser makes float32; here it is asked for its numbers alone.
        return model.outputs(Batch.of((x - normal.mean) / normal.std)).square().sum()

    (expected,) = torch.autograd.grad(loss(x), x)
    quotients = torch.zeros_like(x)
    for column in range(x.shape[1]):
        aside = torch.zeros_like(x)
        aside[:, column] = step[column]
        for row in range(len(x)):
            one = torch.zeros_like(x)
            one[row] = aside[row]
            quotients[row, column] = (loss(x + one) - loss(x - one)) / (2 * step[column])
    torch.testing.assert_close(quotients, expected, rtol=1e-4, atol=1e-7)
    for part in (model.encoder, model.head):
        part.float()
    y = data.x[:3].clone().requires_grad_()
    (found,) = torch.autograd.grad(model.differentiable_logits(y).square().sum(), y)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    assert_close(
        model.differentiable_logits(data.x[:3]).detach(), model.logits(data.subset(torch.arange(3)))
    )


def test_levels_stay_levels_and_within_the_budget(digits: tuple[Learner, Dataset]) -> None:
    model, data = digits
    for attack in (FGSM(), RandomSigns()):
        moved = attack.perturb(model, raw(data), budget=7)
        assert moved.x.dtype == torch.uint8
        change = moved.x.int() - data.x.int()
        assert int(change.abs().max()) == 7
        # What cannot go on is cut, and nothing wraps round from 255 to 0.
        inner = (data.x >= 7) & (data.x <= 248)
        assert set(change[inner].abs().unique().tolist()) <= {0, 7}
        assert torch.equal(moved.y, data.y)


@pytest.mark.parametrize("budget", [0.1, 1e-3, 123.0])
def test_rounding_never_passes_the_budget(budget: float) -> None:
    wine = load("wine")
    model = LinearProbe(Plain(wine.spec)).fit(wine)
    moved = FGSM().perturb(model, raw(wine), budget)
    assert float((moved.x.double() - wine.x.double()).abs().max()) <= budget


def test_floats_beside_levels_stay_shares(digits: tuple[Learner, Dataset]) -> None:
    model, data = digits
    shares = data.with_samples(data.x.float() / 255)
    moved = FGSM().perturb(model, raw(shares), budget=16 / 255)
    assert float(moved.x.min()) == 0.0
    assert float(moved.x.max()) == 1.0
    levels = FGSM().perturb(model, raw(data), budget=16)
    assert_close(moved.x, levels.x.float() / 255)


def test_the_attack_misleads_where_random_signs_do_not(digits: tuple[Learner, Dataset]) -> None:
    model, data = digits
    report = attacked(FGSM(), model, data, budget=32)
    assert report.attacked > 0.9 * len(data)
    assert report.success > 0.5
    assert report.control < 0.15
    assert report.max_change == 32
    assert 16 < report.mean_change <= 32
    assert 0 < report.signal_to_noise < 20


def test_no_budget_changes_nothing(digits: tuple[Learner, Dataset]) -> None:
    model, data = digits
    report = attacked(FGSM(), model, data, budget=0)
    assert (report.success, report.control, report.max_change, report.mean_change) == (0, 0, 0, 0)
    assert report.signal_to_noise == math.inf
    assert torch.equal(FGSM().perturb(model, raw(data), 0).x, data.x)


def test_categories_and_missing_values_of_a_table_stay() -> None:
    generator = np.random.default_rng(0)
    rows = generator.normal(size=(60, 2)).astype(np.float32)
    x = torch.cat([torch.tensor(rows), torch.tensor(generator.integers(0, 3, (60, 1)))], 1).float()
    x[::7, 1] = torch.nan
    data = Dataset.of(
        "tables", x, torch.tensor(rows[:, 0] > 0).long(),
        as_dataset(rows, ["a", "b"] * 30).task,
        columns=("a", "b", "kind"), categories=((), (), ("x", "y", "z")),
    )  # fmt: skip
    torch.manual_seed(0)
    model = LinearProbe(build("feature-tokens", data.spec, dim=8, depth=1)).fit(data)
    for attack in (FGSM(), RandomSigns()):
        moved = attack.perturb(model, raw(data), budget=0.5).x
        assert torch.equal(moved[:, 2], x[:, 2])
        assert torch.equal(moved[:, 1].isnan(), x[:, 1].isnan())
        assert_close((moved[:, 0] - x[:, 0]).abs(), torch.full((60,), 0.5))


def test_padding_of_series_stays() -> None:
    model = quick_model("knn", "series").learner
    data = replace(model.like_training(load_series()), normaliser=None)
    moved = RandomSigns().perturb(model, raw(data), budget=1.0)
    assert data.lengths is not None
    assert torch.equal(moved.lengths, data.lengths)  # type: ignore[arg-type]
    assert not moved.x[~moved.mask].any()  # type: ignore[index]
    gradient = loss_gradient(model, raw(data.subset(data.labelled)))
    assert not gradient[~data.subset(data.labelled).take(torch.arange(40)).mask].any()  # type: ignore[index]


def load_series() -> Dataset:
    from tests.models import data_of

    return data_of("series")


def test_what_cannot_be_attacked_is_refused_by_name(digits: tuple[Learner, Dataset]) -> None:
    model, data = digits
    with pytest.raises(ConfigError, match=r"budget=0\.5 is none.*"):
        FGSM().perturb(model, raw(data), 0.5)
    with pytest.raises(ConfigError, match=r"budget=-1"):
        FGSM().perturb(model, raw(data), -1)
    forest = RandomForest().fit(data)
    with pytest.raises(ConfigError, match="RandomForest has no gradients"):
        FGSM().perturb(forest, raw(data), 8)
    with pytest.raises(ConfigError, match="no head yet"):
        FGSM().perturb(
            EncoderOnly(build("residual-cnn", data.spec, width=4)).fit(data), raw(data), 8
        )
    with pytest.raises(DataError, match="no label"):
        FGSM().perturb(model, raw(data.hide_labels(torch.empty(0, dtype=torch.int64))), 8)
    with pytest.raises(ConfigError, match="classes"):
        attacked(FGSM(), quick_model("linear-probe", "regression").learner, load("diabetes"), 1.0)
