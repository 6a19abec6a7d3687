"""A modality, a learner and an objective that are one class each go all the way, from a file to a report.

The samples are times of day: numbers on a circle, which nothing in the house has heard of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import tacita
from tacita.catalog import cards, discover
from tacita.catalog.cards import method, modality
from tacita.data import modality as modalities
from tacita.data.batch import Batch, InputSpec
from tacita.data.dataset import Dataset, Schema, joined
from tacita.data.modality import Meta, Modality, Strength
from tacita.data.normalise import Normaliser
from tacita.data.reading import Reading, Samples, Source
from tacita.encoder import Encoder, Encoding
from tacita.errors import ConfigError, DataError
from tacita.learner import NetworkLearner, features
from tacita.modalities.load import read_like
from tacita.modalities.readers.sources import ArraySource
from tacita.objective import Losses, Objective
from tacita.tasks import Classification, Task
from tacita.values import Values, as_tensor

DAY = 24.0


class ClocksMeta(Meta):
    """`shape (K,)`; zone: of the clocks, in words."""

    modality = "clocks"
    rank = 1
    zone: str = "UTC"


@modality("clocks", title="Times of day", encoder="clock-encoder", gives=("views",))
class Clocks(Modality):
    """Rows of hours, `(K,)`, from 0 to 24."""

    meta = ClocksMeta

    def claims(self, source: Source, reading: Reading) -> int:
        return 9 * (isinstance(source, ArraySource) and source.dtype == np.float16)

    def read(
        self, source: Source, reading: Reading, like: Schema | None, chunk: int | None
    ) -> Iterator[Samples]:
        if not isinstance(source, ArraySource):
            raise self.cannot(source, like)
        for piece in source.pieces(chunk):
            hours = torch.from_numpy(np.array(piece.x, np.float32))
            wrong = ((hours < 0) | (hours >= DAY)).any(1)
            if wrong.any():
                row = piece.start + int(wrong.int().argmax())
                raise DataError(f"{source.name}: sample {row} has an hour that no day has.")
            yield Samples(hours, ClocksMeta.of(hours), source.name)

    def normaliser(self, spec: InputSpec) -> Normaliser:
        return Turn(spec)

    def views(self, spec: InputSpec, strength: Strength) -> nn.Module:
        return Late(0.5 if strength == "weak" else 2.0)

    def words(self, data: Dataset) -> str:
        return f"{len(data)} times of day"

    def show(self, data: Dataset, position: int) -> dict[str, object]:
        return {f"clock {i}": hour for i, hour in enumerate(data.x[position].tolist())}

    def example(self) -> Dataset:
        return clocks(40, 0)


class Turn(Normaliser):
    """Hours since the mean one, on the circle, as a share of a turn from -1/2 to 1/2."""

    noon: Tensor

    def __init__(self, spec: InputSpec) -> None:
        super().__init__(spec)
        self.register_buffer("noon", torch.zeros(spec.shape))

    def fit(self, samples: Values) -> Turn:
        angle = as_tensor(samples) * (2 * torch.pi / DAY)
        mean = torch.atan2(angle.sin().mean(0), angle.cos().mean(0)) % (2 * torch.pi)
        self.noon.copy_(mean * DAY / (2 * torch.pi))
        return self

    def forward(self, samples: Values) -> Values:
        return ((as_tensor(samples) - self.noon) / DAY + 0.5) % 1 - 0.5

    def inverse(self, samples: Values) -> Values:
        return (as_tensor(samples) * DAY + self.noon) % DAY


class Late(nn.Module):
    """Some hours too late or too early."""

    def __init__(self, hours: float) -> None:
        super().__init__()
        self.hours = hours

    def forward(self, batch: Batch) -> Batch:
        return batch.with_x(batch.x + torch.randn_like(batch.x) * self.hours / DAY)


@method(
    "clock-encoder",
    title="Clocks",
    family="encoder",
    modalities=("clocks",),
    summary="Features of times of day.",
)
class ClockEncoder(Encoder):
    """width: of the features."""

    modalities = ("clocks",)
    tiny = {"width": 8}

    def __init__(self, spec: InputSpec, *, width: int = 16) -> None:
        super().__init__()
        self.require(spec)
        self.spec, self.dim = spec, width
        self.layer = nn.Sequential(nn.Linear(2 * spec.shape[0], width), nn.Tanh())

    def forward(self, batch: Batch) -> Encoding:
        angle = batch.x * 2 * torch.pi
        pooled = self.layer(torch.cat([angle.sin(), angle.cos()], 1))
        return Encoding(pooled[:, None], pooled)


@method(
    "tell-the-hour",
    title="Tell the hour",
    family="pretrain",
    needs=("views",),
    summary="Features from which a view's hour can be told.",
)
class TellTheHour(Objective[Batch]):
    """The sample itself from the features of a view of it."""

    reads = "unlabelled"
    engine_defaults = {"steps": 20, "batch_size": 16}

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.views = modalities.default_views(encoder.spec, "weak")
        self.reader = nn.Linear(encoder.dim, encoder.spec.shape[0])

    def loss(self, batch: Batch) -> Losses:
        told = self.reader(self.encoder(self.views(batch)).pooled)
        return Losses(hour=functional.mse_loss(told, batch.x))


@method(
    "class-means",
    title="Class means",
    family="adapt",
    labels="few",
    summary="The class whose mean is nearest in feature space.",
)
class ClassMeans(NetworkLearner):
    """scale: of the distances that become logits."""

    def __init__(self, encoder: Encoder, *, scale: float = 10.0) -> None:
        self.encoder = encoder
        self.scale = scale

    def rebuild(self, task: Task, shapes: Any) -> None:
        self.head = nn.Linear(self.encoder.dim, len(task.answers))

    def _fit(self, data: Dataset, seed: int) -> None:
        self.rebuild(data.task, {})
        known = data.subset(data.labelled)
        found = features(self.encoder, known)
        means = torch.stack([found[known.y == code].mean(0) for code in known.y.unique()])
        with torch.no_grad():  # |x - m|^2, but for |x|^2
            self.head.weight.copy_(2 * self.scale * means)
            self.head.bias.copy_(-self.scale * means.square().sum(1))


TOYS = ("clock-encoder", "tell-the-hour", "class-means")
REGISTERED = {slug: cards.REGISTERED.pop(slug) for slug in TOYS}
KIND = cards.MODALITIES.pop("clocks")


@pytest.fixture(autouse=True)
def _toys() -> Iterator[None]:
    """Other tests look at all there is, and count these only while their own run."""
    cards.REGISTERED.update(REGISTERED)
    cards.MODALITIES["clocks"] = KIND
    yield
    for slug in TOYS:
        del cards.REGISTERED[slug]
    del cards.MODALITIES["clocks"]
    modalities.find.cache_clear()


def hours(count: int, seed: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """When people rise and go to bed: larks before owls, whose bedtime lies on both sides of midnight."""
    rng = np.random.default_rng(seed)
    owl = np.arange(count) % 2
    middle = np.stack([6 + 3.0 * owl, 21.5 + 2.5 * owl], 1)
    return np.minimum((middle + rng.normal(size=(count, 2)) * 0.4) % 24, 23.98), owl


def clocks(count: int, seed: int) -> Dataset:
    x, owl = hours(count, seed)
    task = Classification(("lark", "owl"))
    return Dataset.of("clocks", torch.tensor(x, dtype=torch.float32), torch.tensor(owl), task)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Sixty people, a third of them with a label, in the half precision that tells clocks apart."""
    x, owl = hours(60, 1)
    words = [("lark", "owl")[code] if row < 20 else "" for row, code in enumerate(owl)]
    np.savez(tmp_path / "clocks.npz", x=x.astype(np.float16), y=words)
    return tmp_path / "clocks.npz"


def test_they_are_in_the_catalog() -> None:
    assert discover.modality("clocks").encoder == "clock-encoder"
    assert set(TOYS) <= set(discover.cards())
    assert "clocks" in discover.reads(discover.get("simclr"))
    assert "clocks" not in discover.reads(discover.get("mae"))


def test_what_it_reads_first_it_reads_again(file: Path) -> None:
    data = tacita.load(file)
    assert (data.modality, data.meta.zone) == ("clocks", "UTC")
    again = joined(list(read_like(file, data.schema, chunk=7)))
    assert torch.equal(again.x, data.x)
    assert torch.equal(again.y, data.y)
    back = data.normalised().normaliser
    assert back is not None
    torch.testing.assert_close(back.inverse(back(data.samples)), data.x, rtol=1e-4, atol=1e-3)


def test_it_is_described(file: Path) -> None:
    said = str(tacita.describe(tacita.load(file)))
    assert "60 times of day" in said
    assert "20 labelled of 60" in said


@pytest.mark.parametrize(
    "learner", ["class-means", "knn", "linear-probe", "supervised", "fixmatch"]
)
def test_it_goes_from_a_file_to_a_report(learner: str, file: Path, tmp_path: Path) -> None:
    data, few = tacita.load(file), {"steps": 60} if learner in ("supervised", "fixmatch") else {}
    model = tacita.adapt(learner, data, out=tmp_path / "run", quiet=True, **few)
    assert (tmp_path / "run" / "report.html").stat().st_size > 10_000
    loaded = tacita.Model.load(tmp_path / "run")
    x, owl = hours(50, 2)
    np.save(tmp_path / "new.npy", x.astype(np.float16))
    predicted = loaded.predict(tmp_path / "new.npy")
    assert (predicted == np.array(["lark", "owl"])[owl]).mean() > 0.9
    assert np.array_equal(predicted, model.predict(tmp_path / "new.npy"))
    assert loaded.schema.meta.zone == "UTC"


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
def test_the_objective_pretrains_what_the_learner_adapts(file: Path, tmp_path: Path) -> None:
    data = tacita.load(file)
    tacita.pretrain("tell-the-hour", data, out=tmp_path / "first", quiet=True)
    model = tacita.adapt("class-means", data, start=tmp_path / "first", quiet=True)
    assert model.evaluate(data)["accuracy"] > 0.9


def test_what_is_wrong_is_said_and_what_it_does_not_give_is_refused(
    file: Path, tmp_path: Path
) -> None:
    np.save(tmp_path / "bad.npy", np.array([[1.0, 2], [3, 25]], np.float16))
    with pytest.raises(DataError, match="sample 1 has an hour that no day has"):
        tacita.load(tmp_path / "bad.npy")
    with pytest.raises(DataError, match="trained on clocks"):
        list(read_like("digits", tacita.load(file).schema))
    with pytest.raises(ConfigError, match="There are no crops of clocks"):
        modalities.find("clocks").crops(InputSpec("clocks", (2,)), scale=(0.5, 1.0))
    with pytest.raises(ConfigError, match="mae"):
        tacita.pretrain("mae", tacita.load(file), quiet=True)


def test_facts_that_are_none_of_its_own_are_refused(file: Path, tmp_path: Path) -> None:
    tacita.adapt("class-means", tacita.load(file), out=tmp_path / "run", quiet=True)
    labels = tmp_path / "run" / "labels.json"
    labels.write_text(labels.read_text().replace('"zone"', '"zones"'))
    with pytest.raises(tacita.errors.CheckpointError, match="zones"):
        tacita.Model.load(tmp_path / "run")


def test_a_data_set_of_another_zone_travels() -> None:
    data = clocks(10, 0)
    east = replace(data, meta=data.meta.model_copy(update={"zone": "CET"}))
    assert east.subset(torch.arange(3)).schema.meta.zone == "CET"
