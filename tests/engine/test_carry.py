"""One data set after another: what could go wrong is that the branch which is annealed, or a kill,
leaves a trace in what is gone on from; that moments or the step are lost at a border; or that a batch
does not have the earlier samples that it should.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tacita.data.batch import Batch
from tacita.data.dataset import Dataset
from tacita.engine.batches import Batches, with_past
from tacita.engine.carry import Carried, load_carried, restore_carried, save_carried
from tacita.engine.devices import seed_step
from tacita.engine.history import Progress
from tacita.engine.optimizer import build_optimizer
from tacita.engine.passes import mix
from tacita.engine.schedules import Infinite, infinite
from tacita.engine.train import train
from tacita.errors import CheckpointError, ConfigError, DataError
from tacita.modalities.memory import as_dataset
from tacita.objective import Losses
from tests.engine.runs import Flat, Plain, digits_data, equal, fixmatch, plain, weights

DATA = digits_data()
LATER = digits_data(samples=320).subset(torch.arange(200, 320)).normalised(DATA.normaliser)
FEW_LABELS = LATER.with_labels(torch.arange(120) % 10)
SHARES = {"cooldown": 0.3, "anneal": 0.2}
INFINITE: dict[str, Any] = {
    "schedule": "infinite",
    "schedule_options": SHARES,
    "warmup": 0.2,
    "learning_rate": 0.05,
    "batch_size": 16,
    "log_every": 1,
}


class Unlabelled(Plain):
    """Squared features under noise: an objective without labels whose steps are random."""

    reads = "unlabelled"

    def loss(self, batch: Batch) -> Losses:
        features = self.encoder(batch.x + 0.1 * torch.randn_like(batch.x)).pooled
        return Losses(size=(features - 1).square().mean())


def unlabelled() -> Unlabelled:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        objective = Unlabelled(Flat(DATA.spec))
    objective.head = None
    return objective


# The main line and its branches


@pytest.mark.parametrize("make", [plain, fixmatch])
def test_going_on_with_the_same_data_is_one_longer_run(make: Any, tmp_path: Path) -> None:
    kept = tmp_path / "constant.safetensors"
    train(make(DATA), DATA, steps=20, keep=kept, **INFINITE)
    assert load_carried(kept).carried.step == 16
    on, whole = make(DATA), make(DATA)
    went_on = train(on, DATA, steps=14, start=kept, **INFINITE)
    # The same schedule in the steps of the whole: up at 4, down at 10, annealed from 27 to 30.
    schedule = infinite(20, 0.2, **SHARES).annealed(at=27, steps=3)
    options = {k: v for k, v in INFINITE.items() if k != "schedule_options"}
    at_once = train(whole, DATA, steps=30, **{**options, "schedule": schedule})
    assert equal(weights(on), weights(whole))
    assert [row["total"] for row in went_on.rows] == [row["total"] for row in at_once.rows[16:]]
    assert [row["rate"] for row in went_on.rows] == [row["rate"] for row in at_once.rows[16:]]


def test_keeping_the_state_changes_nothing_and_going_on_does_not_change_it(tmp_path: Path) -> None:
    kept = tmp_path / "constant.safetensors"
    with_file, without = plain(DATA), plain(DATA)
    train(with_file, DATA, steps=20, keep=kept, **INFINITE)
    train(without, DATA, steps=20, **INFINITE)
    assert equal(weights(with_file), weights(without))
    before = kept.read_bytes()
    models = []
    for _ in range(2):
        on = plain(DATA)
        train(on, FEW_LABELS, steps=10, start=kept, keep=tmp_path / "next.safetensors", **INFINITE)
        models.append(weights(on))
    assert equal(*models)
    assert kept.read_bytes() == before
    # Of the next, which has gone on from the state and not from the annealed model: 16 and 8.
    assert load_carried(tmp_path / "next.safetensors").carried.step == 24


def test_what_is_kept_is_the_state_before_the_anneal(tmp_path: Path) -> None:
    kept = tmp_path / "constant.safetensors"
    annealed = plain(DATA)
    train(annealed, DATA, steps=20, keep=kept, **INFINITE)
    # The same run, ended there: rates up to a step do not depend on what is decided later.
    until = infinite(20, 0.2, **SHARES).endless()
    options = {k: v for k, v in INFINITE.items() if k != "schedule_options"}
    ended = plain(DATA)
    train(ended, DATA, steps=16, **{**options, "schedule": until})
    carried, tensors = load_carried(kept).carried, load_carried(kept).tensors
    found = {k.removeprefix("objective/"): v for k, v in tensors.items() if k.startswith("obj")}
    assert equal(found, weights(ended))
    assert not equal(found, weights(annealed))
    assert carried == Carried(16, "adamw", 0.05, until)


def test_a_run_that_ends_in_its_constant_phase_keeps_its_end(tmp_path: Path) -> None:
    kept = tmp_path / "constant.safetensors"
    schedule = Infinite(warmup=2, cooldown=4)
    objective = plain(DATA)
    train(objective, DATA, steps=9, batch_size=16, schedule=schedule, keep=kept)
    carried, tensors = load_carried(kept).carried, load_carried(kept).tensors
    assert carried == Carried(9, "adamw", 0.001, schedule)
    found = {k.removeprefix("objective/"): v for k, v in tensors.items() if k.startswith("obj")}
    assert equal(found, weights(objective))


class Stopped(Exception):
    pass


@settings(deadline=None, max_examples=8)
@given(stop=st.integers(1, 19))
def test_a_run_stopped_at_any_step_keeps_and_ends_with_the_same_bytes(
    stop: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("run")
    first = folder / "first.safetensors"
    train(unlabelled(), DATA, steps=10, keep=first, **INFINITE)
    options = {**INFINITE, "steps": 20, "start": first, "replay": DATA, "replay_share": 0.25}
    whole = unlabelled()
    train(whole, LATER, keep=folder / "whole.safetensors", **options)

    def halt(progress: Progress) -> None:
        if progress.step == stop:
            raise Stopped

    files = {"keep": folder / "kept.safetensors", "checkpoint": folder / "run.safetensors"}
    with pytest.raises(Stopped):
        train(unlabelled(), LATER, callbacks=[halt], checkpoint_every=0.0, **files, **options)
    resumed = unlabelled()
    train(resumed, LATER, resume=True, **files, **options)
    assert equal(weights(resumed), weights(whole))
    kept = [(folder / name).read_bytes() for name in ("kept.safetensors", "whole.safetensors")]
    assert kept[0] == kept[1]


def test_a_checkpoint_of_another_start_is_refused(tmp_path: Path) -> None:
    starts = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for seed, start in enumerate(starts):
        train(unlabelled(), DATA, steps=10, seed=seed, keep=start, **INFINITE)
    options = {**INFINITE, "steps": 10, "checkpoint": tmp_path / "run.safetensors"}
    train(unlabelled(), LATER, start=starts[0], **options)
    with pytest.raises(CheckpointError, match="another run"):
        train(unlabelled(), LATER, start=starts[1], resume=True, **options)


def test_a_cosine_starts_anew_with_the_moments_that_there_are(tmp_path: Path) -> None:
    kept = tmp_path / "first.safetensors"
    options: dict[str, Any] = {"steps": 12, "batch_size": 16, "warmup": 0.25, "clip": 1e6}
    ours = unlabelled()
    train(ours, DATA, keep=kept, **options)
    ours = unlabelled()
    train(ours, LATER, start=kept, replay=DATA, replay_share=0.25, **options)

    # A plain loop over both, with one optimiser.
    reference = unlabelled()
    decayed = [p for p in reference.parameters() if p.ndim > 1]
    others = [p for p in reference.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, fused=True)
    cpu = torch.device("cpu")
    tasks = [
        Batches(reference, DATA, 16, device=cpu),
        Batches(reference, with_past(LATER, DATA), 16, past=200, replay_share=0.25, device=cpu),
    ]
    for step in range(24):
        within = step % 12
        falling = 0.5 + 0.5 * math.cos(math.pi * (within - 3) / 9)
        share = (within + 1) / 3 if within < 3 else falling
        for group in optimizer.param_groups:
            group["lr"] = 0.001 * share
        seed_step(cpu, mix(0, step, 0))
        (batch,) = tasks[step // 12].at(step)
        optimizer.zero_grad()
        reference.loss(batch).total.backward()  # type: ignore[arg-type]
        optimizer.step()
    assert equal(weights(ours), weights(reference))


# The file


class Slow(nn.Module):
    """A network with a parameter that is learnt slowly, so that groups depend on the rate."""

    optimizer_hints = {"first": {"learning_rate": 0.01}}

    def __init__(self) -> None:
        super().__init__()
        self.zero = nn.Parameter(torch.ones(2))
        self.first = nn.Parameter(torch.ones(2))
        self.second = nn.Parameter(torch.ones(2))


def test_moments_find_their_parameter_in_other_groups(tmp_path: Path) -> None:
    module = Slow()
    optimizer = build_optimizer(module, "adamw", 0.1, 0.0)
    for number, parameter in enumerate(module.parameters()):
        parameter.grad = torch.full((2,), number + 1.0)
    optimizer.step()
    path = tmp_path / "kept.safetensors"
    save_carried(path, Carried(1, "adamw", 0.1, None), module, optimizer)
    other = Slow()
    lower = build_optimizer(other, "adamw", 0.001, 0.0)
    assert len(lower.param_groups) < len(optimizer.param_groups)
    restore_carried(load_carried(path), other, lower)
    for mine, its in zip(module.parameters(), other.parameters(), strict=True):
        assert torch.equal(mine, its)
        for key, value in optimizer.state[mine].items():
            assert torch.equal(lower.state[its][key], value)
    assert {group["lr"] for group in lower.param_groups} == {0.001}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What a run of each schedule kept."""
    folder = tmp_path_factory.mktemp("kept")
    files = {name: folder / f"{name}.safetensors" for name in ("infinite", "cosine")}
    train(plain(DATA), DATA, steps=20, keep=files["infinite"], **INFINITE)
    train(plain(DATA), DATA, steps=5, batch_size=16, keep=files["cosine"])
    return files


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_file_is_refused(kept: dict[str, Path], damage: str, tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    whole = kept["infinite"].read_bytes()
    path.write_bytes(whole[:-9] if damage == "cut" else whole[:-1] + bytes([whole[-1] ^ 1]))
    objective = plain(DATA)
    before = weights(objective)
    with pytest.raises(CheckpointError, match=r"damaged\.safetensors"):
        train(objective, DATA, steps=20, start=path, **INFINITE)
    assert equal(weights(objective), before)


def test_other_networks_are_refused(kept: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match=r"infinite\.safetensors: encoder\.linear"):
        train(Plain(Flat(DATA.spec, dim=5)), DATA, steps=20, start=kept["infinite"], **INFINITE)


@pytest.mark.parametrize(
    "file, change, words",
    [
        ("infinite", {"learning_rate": 0.01}, r"learning_rate=0\.01: .* share of 0\.05"),
        ("infinite", {"optimizer": "sgd"}, "optimizer=sgd: .* moments of adamw"),
        ("infinite", {"schedule_options": {"constant": 0.5}}, r"goes on has constant=0\.375"),
        ("cosine", {"learning_rate": 0.001}, "its schedule ended"),
    ],
)
def test_a_run_that_cannot_go_on_so_is_refused(
    kept: dict[str, Path], file: str, change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        train(plain(DATA), DATA, steps=20, start=kept[file], **{**INFINITE, **change})


# Replay


def test_every_batch_has_its_share_of_the_past_and_all_of_it_evenly() -> None:
    both = with_past(LATER, DATA)
    batches = Batches(
        unlabelled(),
        both,
        16,
        past=200,
        replay_share=0.25,
        accumulate=2,
        device=torch.device("cpu"),
    )
    seen = torch.zeros(320, dtype=torch.int64)
    for step in range(50):
        parts = batches.at(step)
        assert [len(part) for part in parts] == [8, 8]
        for part in parts:
            assert int((part.index >= 120).sum()) == 2
            assert bool((part.y == -1).all())
            torch.testing.assert_close(part.x, both.take(part.index).x)
            seen += torch.bincount(part.index, minlength=320)
    # 50 steps of 4 earlier samples are one pass over the 200; 600 new ones are five over the 120.
    assert seen[:120].tolist() == [5] * 120
    assert seen[120:].tolist() == [1] * 200


def test_the_past_is_seen_through_the_normaliser_of_the_model() -> None:
    brighter = as_dataset((DATA.x // 2).numpy(), modality="images").normalised()
    both = with_past(LATER, brighter)
    assert both.normaliser is LATER.normaliser
    assert both.index.tolist() == list(range(320))
    assert not both.labelled[120:].any()
    expected = brighter.normalised(LATER.normaliser).take(torch.arange(200)).x
    torch.testing.assert_close(both.take(torch.arange(120, 320)).x, expected)


def test_series_of_other_lengths_are_replayed_padded() -> None:
    long = Dataset.of("series", torch.randn(3, 7, 2), torch.full((3,), -1)).normalised()
    short = Dataset.of("series", torch.randn(2, 5, 2), torch.full((2,), -1))
    both = with_past(long, short)
    assert both.x.shape == (5, 7, 2)
    assert both.lengths is not None
    assert both.lengths.tolist() == [7, 7, 7, 5, 5]


@pytest.mark.parametrize(
    "past",
    [
        Dataset.of("images", torch.zeros(3, 1, 9, 9, dtype=torch.uint8), torch.full((3,), -1)),
        Dataset.of("images", torch.zeros(3, 1, 8, 8), torch.full((3,), -1)),
        Dataset.of("tables", torch.zeros(3, 64), torch.full((3,), -1)),
    ],
    ids=["size", "number", "modality"],
)
def test_a_past_of_another_kind_is_refused(past: Dataset) -> None:
    with pytest.raises(DataError, match="Give samples like the new ones"):
        train(unlabelled(), LATER, steps=2, batch_size=16, replay=past)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.99, 1.0])
def test_a_share_of_none_or_all_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match="replay_share"):
        train(unlabelled(), LATER, steps=2, batch_size=16, replay=DATA, replay_share=share)


def test_objectives_that_read_labels_do_not_replay() -> None:
    with pytest.raises(ConfigError, match="Plain learns from labels"):
        train(plain(DATA), DATA, steps=2, batch_size=16, replay=DATA)


def test_options_beside_a_schedule_of_ones_own_are_refused() -> None:
    options = {**INFINITE, "schedule": Infinite(warmup=2, cooldown=2)}
    with pytest.raises(ConfigError, match="beside a schedule of your own"):
        train(plain(DATA), DATA, steps=9, **options)
