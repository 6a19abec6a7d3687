"""What could go wrong unseen: the encoder sees what is hidden, visible steps or padding count in the
loss, the target of prediction is shifted wrongly, or something of the mask stays in the encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tacita.catalog.recipe import Recipe, find_recipe
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.model.build import learner_for, pretrain_encoder
from tacita.parts.masking import hide_spans
from tacita.pretrain.self_pretraining import SelfPretraining, interpolated, mean_error
from tacita.tasks import Classification
from tacita.values import length_mask
from tacita.verbs.plan import resolved
from tests.helpers import BATCHES, assert_close, samples_of, series_batch

SMALL = {"d_model": 8, "depth": 1, "layer_options": {"d_state": 4}}
both = pytest.mark.parametrize("modality", ["series", "text"])


def make(
    modality: str = "series", bidirectional: bool = False, **options: object
) -> tuple[SelfPretraining, Batch]:
    spec, batch = BATCHES[modality]()
    torch.manual_seed(0)
    encoder = build("sequence-model", spec, bidirectional=bidirectional, **SMALL)
    return SelfPretraining(encoder, **options).double(), batch


def loss_of(objective: SelfPretraining, batch: Batch, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return objective.loss(batch).total


def doubled(batch: Batch) -> Batch:
    return batch.with_x(batch.x.double()) if batch.x.is_floating_point() else batch


@settings(deadline=None, max_examples=80)
@given(
    length=st.integers(2, 30),
    span=st.integers(1, 5),
    ratio=st.sampled_from([0.1, 0.25, 0.5, 0.9]),
    seed=st.integers(0, 99),
)
def test_spans_are_as_many_as_said_and_lie_in_the_valid_steps(length, span, ratio, seed) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(0, length + 1, (4,), generator=generator)
    noise = torch.rand(4, length, generator=generator)
    hidden = hide_spans(noise, ratio, span, length_mask(lengths, length))
    for row, valid in enumerate(lengths.tolist()):
        assert hidden[row].sum() == int(valid * ratio / span + 1e-6) * span
        assert not hidden[row, valid:].any()
        runs = "".join("x" if h else " " for h in hidden[row].tolist()).split()
        assert all(len(run) % span == 0 for run in runs)


def test_every_arrangement_of_spans_is_as_likely() -> None:
    noise = torch.rand(30_000, 6, generator=torch.Generator().manual_seed(0))
    hidden = hide_spans(noise, 0.67, 2)  # two spans of 2 among 6 steps: 6 arrangements of 4 places
    shares = torch.unique((~hidden).int(), dim=0, return_counts=True)[1] / 30_000
    assert shares.shape == (6,)
    assert ((shares - 1 / 6).abs() < 4 * (5 / 36 / 30_000) ** 0.5).all()


@both
@pytest.mark.parametrize("bidirectional", [False, True])
def test_what_is_hidden_never_reaches_the_encoder(modality: str, bidirectional: bool) -> None:
    objective, batch = make(modality, bidirectional)
    x = doubled(batch).x
    hidden = hide_spans(torch.rand(x.shape[:2]), 0.5, 2)
    other = torch.where(hidden[:, :, None] if x.ndim == 3 else hidden, (x + 1) % 4, x)
    assert not torch.equal(other, x)
    assert torch.equal(objective.embed_hidden(other, hidden), objective.embed_hidden(x, hidden))


def test_a_hidden_step_enters_as_a_second_channel_would() -> None:
    objective, batch = make()
    x, hidden = batch.x.double(), hide_spans(torch.rand(16, 16), 0.5, 1)
    enter = objective.encoder.enter
    wide = nn.Linear(x.shape[2] + 1, enter.out_features).double()
    with torch.no_grad():
        wide.weight.copy_(torch.cat([enter.weight, objective.hidden_step[:, None]], 1))
        wide.bias.copy_(enter.bias)
    mark = hidden[:, :, None].double()
    two_channels = wide(torch.cat([x * (1 - mark), mark], 2))
    assert_close(objective.embed_hidden(x, hidden), two_channels)


@both
def test_nothing_of_the_mask_stays_in_the_encoder(modality: str) -> None:
    objective, batch = make(modality)
    batch = doubled(batch)
    nothing = torch.zeros(batch.x.shape[:2], dtype=torch.bool)
    trunk = objective.encoder.blocks(objective.embed_hidden(batch.x, nothing), batch.mask)
    assert_close(objective.encoder(batch).tokens, trunk)
    assert not [name for name in objective.encoder.state_dict() if "hidden" in name]


def test_errors_are_means_over_what_counts() -> None:
    generator = torch.Generator().manual_seed(0)
    x, predicted = torch.randn(2, 3, 5, 2, generator=generator).double()
    counts = torch.tensor([[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0] * 5], dtype=torch.bool)
    each = [np.abs((x - predicted)[row, step].numpy()).mean() for row, step in counts.nonzero()]
    assert mean_error(predicted, x, counts).item() == pytest.approx(np.mean(each), rel=1e-5)
    tokens = torch.randint(4, (3, 5), generator=generator)
    logits = torch.randn(3, 5, 4, generator=generator)
    shares = torch.exp(logits) / torch.exp(logits).sum(2, keepdim=True)
    each = [-np.log(shares[row, step, tokens[row, step]].item()) for row, step in counts.nonzero()]
    assert mean_error(logits, tokens, counts).item() == pytest.approx(np.mean(each), rel=1e-5)
    assert mean_error(predicted, x, torch.zeros_like(counts)).item() == 0.0


def test_predictions_of_visible_steps_get_no_gradient() -> None:
    x, predicted = torch.randn(2, 9, 3), torch.randn(2, 9, 3, requires_grad=True)
    hidden = hide_spans(torch.rand(2, 9), 0.4, 1)
    mean_error(predicted, x, hidden).backward()
    assert ((predicted.grad.abs().sum(2) > 0) == hidden).all()


@pytest.mark.parametrize("modality, options", [
    ("series", {}), ("series", {"variant": "causal"}), ("series", {"span": 3}),
    ("text", {}), ("text", {"variant": "causal"}),
])  # fmt: skip
def test_padding_takes_no_part(modality: str, options: dict[str, object]) -> None:
    objective, batch = make(modality, **options)
    lengths = torch.arange(16) + 1
    batch = doubled(batch).with_samples(samples_of(doubled(batch).x, lengths))
    rubbish = torch.nan if modality == "series" else 3
    outside = ~batch.mask if modality == "text" else ~batch.mask[:, :, None]
    dirty = batch.with_x(batch.x.masked_fill(outside, rubbish))
    first, second = loss_of(objective, batch), loss_of(objective, dirty)
    assert torch.equal(first, second)
    torch.manual_seed(0)
    for name, metric in objective.loss(dirty).metrics.items():
        assert metric.isfinite(), name


def test_a_causal_target_is_the_step_after() -> None:
    objective, batch = make(variant="causal")
    x = batch.x.double()
    tokens = objective.encoder(batch.with_x(x)).tokens
    errors = []
    for row, length in enumerate(batch.lengths.tolist()):
        for step in range(length - 1):
            predicted = objective.predict(tokens[row, step])
            errors.append((predicted - x[row, step + 1]).abs().mean().item())
    assert loss_of(objective, doubled(batch)).item() == pytest.approx(np.mean(errors), rel=1e-5)


@both
def test_samples_too_short_to_hide_anything_give_a_loss_of_zero(modality: str) -> None:
    objective, batch = make(modality)
    few = doubled(batch).with_samples(
        samples_of(doubled(batch).x, torch.ones(16, dtype=torch.int64))
    )
    total = loss_of(objective, few)
    total.backward()
    assert total.item() == 0.0


@settings(deadline=None, max_examples=60)
@given(length=st.integers(1, 12), seed=st.integers(0, 999))
def test_interpolation_is_that_of_numpy(length: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(1, length, 2, generator=generator, dtype=torch.float64)
    visible = torch.rand(1, length, generator=generator) < 0.5
    at = visible[0].nonzero()[:, 0].numpy()
    expected = np.zeros((length, 2))
    if len(at):
        for channel in range(2):
            expected[:, channel] = np.interp(np.arange(length), at, x[0, at, channel])
    assert_close(interpolated(x, visible)[0], torch.from_numpy(expected))


def test_the_metrics_compare_with_the_median_and_with_a_line() -> None:
    objective, batch = make(mask_ratio=0.4)
    torch.manual_seed(0)
    losses = objective.loss(doubled(batch))
    torch.manual_seed(0)
    hidden = hide_spans(torch.rand(16, 16), 0.4, 1, batch.mask)
    x, mask = batch.x.double(), batch.mask
    valid = x[mask].numpy()
    median = np.sort(valid, 0)[(len(valid) - 1) // 2]
    of_median = np.abs(x[hidden].numpy() - median).mean()
    line = (interpolated(x, mask & ~hidden) - x)[hidden].abs().mean().item()
    loss = losses.total.item()
    assert losses.metrics["relative_to_median"].item() == pytest.approx(loss / of_median, rel=1e-4)
    relative = losses.metrics["relative_to_interpolation"].item()
    assert relative == pytest.approx(loss / line, rel=1e-4)


def test_the_metric_of_tokens_compares_with_their_entropy() -> None:
    objective, batch = make("text", variant="causal")
    losses = objective.loss(batch)
    shares = np.bincount(batch.x.flatten(), minlength=4) / batch.x.numel()
    entropy = -np.log(shares[batch.x[:, 1:]]).mean()
    expected = losses.total.item() / entropy
    assert losses.metrics["relative_to_frequency"].item() == pytest.approx(expected, rel=1e-4)


def test_sines_are_learnt_better_than_a_line_between_neighbours() -> None:
    generator = torch.Generator().manual_seed(0)
    phase, speed = torch.rand(2, 128, 1, 1, generator=generator)
    time = torch.arange(48.0)[None, :, None]
    x = torch.sin(6.28 * phase + (0.5 + speed) * time)
    data = Dataset.of("series", x, torch.full((128,), -1))
    torch.manual_seed(0)
    encoder = build(
        "sequence-model", data.spec, d_model=16, depth=2, layer_options={"d_state": 8},
        bidirectional=True,
    )  # fmt: skip
    history = train(SelfPretraining(encoder, span=4), data, steps=150, learning_rate=5e-3)
    assert history.rows[-1]["relative_to_interpolation"] < 0.6
    assert history.rows[-1]["relative_to_median"] < 0.6


@pytest.mark.parametrize(
    "options, message",
    [
        ({"variant": "both"}, "variant='both'"),
        ({"mask_ratio": 0.0}, "hides nothing or all"),
        ({"mask_ratio": 1.0}, "hides nothing or all"),
        ({"mask_ratio": 0.2, "span": 4}, "hides nothing or all"),
        ({"span": 2.5}, "span=2.5"),
        ({"span": 0}, "span=0"),
    ],
)
def test_options_that_cannot_work_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_encoders_that_cannot_are_refused() -> None:
    spec, _ = series_batch()
    with pytest.raises(ConfigError, match="ResidualConv has none to hide"):
        SelfPretraining(build("residual-conv", spec))
    with pytest.raises(ConfigError, match="which this encoder sees"):
        make(bidirectional=True, variant="causal")
    attention = {"layer": "attention", "layer_options": {"causal": False}, "d_model": 8}
    with pytest.raises(ConfigError, match="which this encoder sees"):
        SelfPretraining(build("sequence-model", spec, **attention), variant="causal")
    with pytest.raises(ConfigError, match="one step"):
        SelfPretraining(build("sequence-model", InputSpec("series", (1, 2)), **SMALL))


def test_where_no_encoder_is_named_the_recipe_takes_one_with_steps() -> None:
    _, batch = series_batch(unequal=False)
    data = Dataset.of("series", batch.x, batch.y % 2, Classification(("even", "odd")))
    for name, encoder in {
        "self-pretraining-fine-tune": "sequence-model",
        "mae-fine-tune": "series-transformer",
        "barlow-fine-tune": "residual-conv",
    }.items():
        recipe = resolved(find_recipe(name), data.normalised())
        assert recipe.encoder.method == encoder, name


def test_all_of_it_runs_from_a_recipe() -> None:
    _, batch = series_batch(size=32)
    data = Dataset.of("series", batch.samples, batch.y % 2, Classification(("even", "odd")))
    recipe = Recipe.model_validate({
        "name": "small",
        "encoder": {"method": "sequence-model", "layer_options": {"d_state": 4}, "d_model": 8},
        "pretrain": {"method": "self-pretraining", "train": {"steps": 3}},
        "learn": {"method": "fine-tune", "train": {"steps": 3}},
    })  # fmt: skip
    recipe = resolved(recipe, data.normalised())
    data = data.normalised()
    encoder, objective, history = pretrain_encoder(recipe, data)
    assert encoder is objective.encoder
    assert {"reconstruction", "relative_to_median"} <= set(history.rows[-1])
    learner = learner_for(recipe, encoder).fit(data)
    assert learner.predict_proba(data).shape == (32, 2)
