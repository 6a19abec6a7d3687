"""SAA must leave alone what it does not mean: training before the first choice, and the views of
samples that are not naive, are compared bit for bit with those of the method under it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from tacita.data.batch import Batch, InputSpec, SemiBatch, together
from tacita.data.dataset import Dataset
from tacita.data.modality import default_views, find
from tacita.encoders import build
from tacita.engine.train import train
from tacita.errors import ConfigError
from tacita.modalities.load import load
from tacita.objective import Objective
from tacita.parts.otsu import otsu
from tacita.semisup.fixmatch import FixMatch
from tacita.semisup.flexmatch import FlexMatch
from tacita.semisup.saa import SAA, Regrouped
from tacita.tasks import Regression
from tests.helpers import BATCHES, assert_close, series_batch
from tests.semisup.training import labels_alone, train_on_digits

DATA = load("digits").subset(torch.arange(120)).hide_labels(torch.arange(40)).normalised()


def saa(**options: object) -> tuple[SAA, SemiBatch]:
    torch.manual_seed(0)
    objective = SAA(build("residual-cnn", DATA.spec, width=4), DATA.task, **options)
    objective.prepare(DATA)
    return objective, SemiBatch(DATA.take(torch.arange(8)), DATA.take(torch.arange(8, 40)))


class Dropped(nn.Module):
    """A head that draws from the generator after the views did."""

    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Dropout(0.3), nn.Linear(dim, classes))

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def trained(method: type[FixMatch], data: Dataset = DATA, **options: object) -> dict[str, Tensor]:
    torch.manual_seed(0)
    objective = method(build("residual-cnn", data.spec, width=4), data.task, **options)
    objective.head = Dropped(objective.encoder.dim, 10)
    objective.average = objective.averaged()
    train(objective, data, steps=12, batch_size=16, accumulate=2, learning_rate=3e-3)
    return networks(objective)


def networks(objective: Objective) -> dict[str, Tensor]:
    kept = {f"encoder.{k}": v for k, v in objective.encoder.state_dict().items()}
    return kept | {f"head.{k}": v for k, v in objective.head.state_dict().items()}


# The method under it is left as it is


@pytest.mark.parametrize("flexible", [False, True])
def test_without_naive_samples_training_is_that_of_the_method_under_it(flexible: bool) -> None:
    options = {"threshold": 0.2, "alignment": "none"}
    expected = trained(FlexMatch if flexible else FixMatch, **options)
    found = trained(SAA, flexible=flexible, warmup=1.0, **options)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    # And the choice makes a difference: the test would see it.
    chosen = trained(SAA, flexible=flexible, warmup=0.0, **options)
    assert not torch.equal(chosen["head.layers.1.weight"], expected["head.layers.1.weight"])


def test_its_defaults_are_those_of_fixmatch() -> None:
    expected, found = trained(FixMatch), trained(SAA, warmup=1.0)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("modality", ["images", "series", "tables"])
def test_views_of_all_others_and_the_generator_are_untouched(modality: str) -> None:
    spec, batch = BATCHES[modality]()
    plain = default_views(spec, "strong")
    regrouped = Regrouped(plain, spec)
    regrouped.naive.prepare(batch.index)
    naive = torch.arange(16) % 3 == 0
    regrouped.naive.values.copy_(naive)
    changed = torch.zeros(16, dtype=torch.bool)
    for seed in range(5):
        torch.manual_seed(seed)
        a, after = plain(batch), torch.rand(4)
        torch.manual_seed(seed)
        view, then = regrouped(batch), torch.rand(4)
        assert torch.equal(view.x[~naive], a.x[~naive])
        assert torch.equal(then, after)
        assert torch.equal(view.index, batch.index)
        changed |= (view.x != a.x).flatten(1).any(1)
    long = torch.ones(16, dtype=torch.bool) if batch.lengths is None else batch.lengths > 3
    assert changed[naive & long].all()


def test_a_saved_state_knows_its_naive_samples() -> None:
    objective, _ = saa()
    objective.strong.naive.values.copy_(torch.arange(120) % 2 == 0)
    objective.history.values.copy_(torch.arange(120.0))
    other, _ = saa()
    other.load_state_dict(objective.state_dict())
    assert torch.equal(other.strong.naive.values, torch.arange(120) % 2 == 0)
    assert torch.equal(other.history.values, torch.arange(120.0))


# Regrouping


class Numbered(nn.Module):
    """First all zeros, then all ones, with a little of the generator used."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, batch: Batch) -> Batch:
        self.calls += 1
        torch.rand(3)
        return batch.with_x(torch.full_like(batch.x, self.calls - 1))


def regrouped(spec: InputSpec, batch: Batch) -> Tensor:
    views = Regrouped(Numbered(), spec)
    views.naive.prepare(batch.index)
    views.naive.values.fill_(True)
    return views(batch).x


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 6)])
def test_images_are_cut_in_the_middle_of_one_side(size: tuple[int, int]) -> None:
    height, width = size
    batch = Batch(torch.zeros(200, 2, height, width), torch.zeros(200), torch.arange(200))
    x = regrouped(InputSpec("images", (2, height, width)), batch)
    left, top = torch.zeros(2, 2, height, width)
    left[:, :, : width // 2] = 1
    top[:, : height // 2] = 1
    is_left = (x == left).flatten(1).all(1)
    is_top = (x == top).flatten(1).all(1)
    assert (is_left ^ is_top).all()
    assert 60 < int(is_left.sum()) < 140


def test_series_are_cut_in_the_middle_of_their_own_length_or_of_their_channels() -> None:
    spec, batch = series_batch(16)
    batch = replace(together([batch] * 10), index=torch.arange(160))
    x = regrouped(spec, batch)
    count = 0
    for one, length in zip(x, batch.lengths, strict=True):
        in_time, in_channels = torch.zeros(2, 16, 8)
        in_time[: int(length) // 2] = 1
        in_channels[:, :4] = 1
        assert torch.equal(one, in_time) or torch.equal(one, in_channels)
        count += torch.equal(one, in_channels)
    assert 50 < count < 110


def test_a_single_channel_is_cut_in_time() -> None:
    batch = Batch(torch.zeros(20, 7, 1), torch.zeros(20), torch.arange(20))
    x = regrouped(InputSpec("series", (7, 1)), batch)
    assert x[:, :, 0].tolist() == [[1.0] * 3 + [0.0] * 4] * 20


def test_a_channel_with_a_rate_of_its_own_is_not_torn() -> None:
    spec = InputSpec("series", (4, 7), rates=(4, 1, 2))
    batch = Batch(torch.zeros(1, 4, 7), torch.zeros(1), torch.arange(1))
    half = find("series").first_half(batch, spec, torch.ones(1, 1, 1, dtype=torch.bool))
    assert half.expand(1, 4, 7)[0, 0].tolist() == [True] * 4 + [False] * 3


def test_tables_are_cut_in_the_middle_of_their_columns() -> None:
    batch = Batch(torch.zeros(5, 7), torch.zeros(5), torch.arange(5))
    x = regrouped(InputSpec("tables", (7,)), batch)
    assert x.tolist() == [[1.0] * 3 + [0.0] * 4] * 5


def test_the_two_views_are_drawn_apart() -> None:
    objective, batch = saa()
    objective.strong.naive.values.fill_(True)
    torch.manual_seed(0)
    a = objective.strong.views(batch.unlabelled).x
    torch.manual_seed(0)
    both = objective.strong(batch.unlabelled).x
    same = both == a
    # The second half of both axes is a's; in one of the first halves hardly a pixel is.
    assert same[:, :, 4:, 4:].all()
    assert same[:, :, :4, :4].float().mean() < 0.2


# Histories


def test_histories_are_averages_of_the_loss_before_the_mask() -> None:
    objective, batch = saa(threshold=1.0, history_rate=0.75)
    losses = objective.loss(batch)
    assert float(losses["unlabelled"].detach()) == 0.0
    first = objective.history.read(batch.unlabelled.index)
    assert (first > 0).all()
    each = torch.rand(32)
    rest = torch.zeros(32)
    objective.observe(batch.unlabelled.index, rest, rest.long(), each)
    expected = 0.25 * first + 0.75 * each
    assert_close(objective.history.read(batch.unlabelled.index), expected)
    assert not objective.history.kept.requires_grad
    unseen = torch.ones(120, dtype=torch.bool)
    unseen[8:40] = False
    assert (objective.history.values[unseen] == -1).all()


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_rate_of_one_keeps_the_last_loss_and_of_nothing_none(rate: float) -> None:
    objective, _ = saa(history_rate=rate)
    index, none = torch.arange(120), torch.zeros(120)
    for _ in range(3):
        each = torch.rand(120)
        objective.observe(index, none, none.long(), each)
        assert torch.equal(objective.history.values, rate * each)


def test_the_history_is_of_the_cross_entropy_to_the_guess() -> None:
    objective, batch = saa(
        threshold=0.2, history_rate=1.0, alignment="none", weak=nn.Identity(), strong=nn.Identity()
    )
    objective.loss(batch)
    with torch.no_grad():
        _, weak, strong = objective.logits(batch.labelled, batch.unlabelled, batch.unlabelled)
    p = strong.double().softmax(1)
    expected = -p[torch.arange(32), weak.argmax(1)].log()
    assert_close(objective.history.read(batch.unlabelled.index), expected.float())


# The choice


def test_what_lies_below_otsus_threshold_is_naive() -> None:
    objective, _ = saa()
    h = torch.cat([torch.rand(90) * 0.01, 2 + torch.rand(30)])
    objective.history.values.copy_(h)
    objective.strong.naive.values[100:] = True
    objective.choose()
    threshold = otsu(h)
    assert objective.strong.naive.values.tolist() == (h < threshold).tolist()
    assert not objective.strong.naive.values[90:].any()


def test_histories_on_the_threshold_keep_their_flag() -> None:
    objective, _ = saa()
    objective.history.values.fill_(0.5)
    old = torch.arange(120) % 2 == 0
    objective.strong.naive.values.copy_(old)
    objective.choose()
    assert torch.equal(objective.strong.naive.values, old)


def test_a_sample_that_was_not_seen_is_never_naive() -> None:
    objective, _ = saa()
    objective.history.values[:40] = torch.cat([torch.full((20,), 0.1), torch.full((20,), 3.0)])
    objective.choose()
    # Nor does it move the threshold, which as a loss of nothing it would.
    assert objective.strong.naive.values.tolist() == [True] * 20 + [False] * 100


@pytest.mark.parametrize(
    "steps, options, expected",
    [
        (600, {}, list(range(66, 601, 6))),
        (600, {"warmup": 0.5}, list(range(306, 601, 6))),
        (50, {}, list(range(6, 51))),
        (2000, {"update_every": 7}, list(range(203, 2001, 7))),
        (30_000, {}, list(range(3072, 30_001, 256))),
        (600, {"warmup": 1.0}, []),
    ],
)
def test_samples_are_chosen_at_these_steps(
    steps: int, options: dict[str, float], expected: list[int]
) -> None:
    objective, _ = saa(**options)
    objective.average.update = lambda *_: None  # type: ignore[method-assign]
    found: list[int] = []
    objective.choose = lambda: found.append(step + 1)  # type: ignore[method-assign]
    objective.start(steps)
    for step in range(steps):
        objective.after_step(step)
    assert found == expected


def test_the_share_of_naive_samples_is_told() -> None:
    objective, batch = saa()
    objective.strong.naive.values[:16] = True
    assert float(objective.loss(batch).metrics["naive"]) == pytest.approx(8 / 32)


@pytest.mark.parametrize(
    "options", [{"history_rate": 1.5}, {"warmup": -0.1}, {"update_every": 0}, {"threshold": 0.0}]
)
def test_options_that_make_no_sense_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(options))}="):
        saa(**options)


def test_a_task_without_classes_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="saa guesses classes"):
        SAA(build("residual-cnn", DATA.spec, width=4), Regression())


@pytest.mark.long
def test_unlabelled_samples_help_on_held_out_digits() -> None:
    learnt = train_on_digits(SAA)
    assert learnt.score > labels_alone(SAA) + 0.03
    # Some samples have become easy by the end, and not all.
    assert 0.2 < learnt.history.rows[-1]["naive"] < 0.99
