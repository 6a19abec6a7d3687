"""A task that is one file goes all the way: this one gives each sample any number of tags.

Its targets are rows rather than codes or numbers, so that nothing may count on either.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

import tacita
from tacita.catalog import cards, discover
from tacita.catalog import tasks as catalog
from tacita.catalog.tasks import task
from tacita.data.dataset import Dataset
from tacita.data.splits import cross_validation, draw_labels, enough_to_hold_out, hold_out
from tacita.errors import ConfigError, DataError
from tacita.model.model import Model
from tacita.report.describe import describe
from tacita.tasks import Fact, Task
from tacita.values import Values, as_tensor


@task("tags")
@dataclass(frozen=True)
class Tags(Task):
    """Any number of tags a sample, written as "red;round"; "none" is no tag, empty is no label.

    Shapes: targets and logits `(N, K)`; a row of NaN is unknown.
    """

    metric = "f1"

    @classmethod
    def encode(cls, raw: Any, samples: Values, source: str) -> tuple[Values, Self]:
        rows = _split([None] * len(samples) if raw is None else raw)
        made = cls(tuple(sorted({tag for row in rows if row is not None for tag in row})))
        return made._targets(rows), made

    def encode_like(
        self, raw: Any, samples: Values, source: str, name: Callable[[int], str]
    ) -> Values:
        rows = _split(raw)
        for position, row in enumerate(rows):
            for tag in row or ():
                if tag not in self.classes:
                    raise DataError(
                        f"{source}: {name(position)} has the tag {tag!r}, which is new."
                    )
        return self._targets(rows)

    def _targets(self, rows: list[list[str] | None]) -> Tensor:
        nan = [torch.nan] * len(self.classes)
        y = [nan if row is None else [float(tag in row) for tag in self.classes] for row in rows]
        return torch.tensor(y).reshape(len(rows), len(self.classes))

    def decode(self, predicted: Values) -> list[Any]:
        rows = as_tensor(predicted) > 0.5
        said = [[tag for tag, on in zip(self.classes, row, strict=True) if on] for row in rows]
        return [";".join(row) or "none" for row in said]

    def unlabelled(self, samples: Values) -> Values:
        return torch.full((len(samples), len(self.classes)), torch.nan)

    def known(self, y: Values) -> Tensor:
        return ~as_tensor(y).isnan().any(1)

    def hide(self, y: Values, keep: Tensor) -> Values:
        hidden = torch.full_like(as_tensor(y), torch.nan)
        hidden[keep] = as_tensor(y)[keep]
        return hidden

    def check_enough(self, y: Values, source: str, fewest: int) -> None:
        for tag, count in zip(self.classes, as_tensor(y).sum(0).tolist(), strict=True):
            if count < fewest:
                raise DataError(f"{source}: the tag {tag!r} has {int(count)} samples.")

    @property
    def out_dim(self) -> int:
        return len(self.classes)

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        y = y.to(logits.dtype)
        return functional.binary_cross_entropy_with_logits(logits, y, reduction="none").mean(1)

    def predict(self, logits: Tensor) -> Tensor:
        return (logits > 0).float()

    def probabilities(self, logits: Tensor) -> Tensor:
        return logits.float().sigmoid()

    def scores(self, logits: Tensor, y: Tensor) -> dict[str, float]:
        found, right = self.predict(logits), (self.predict(logits) * y).sum(0)
        f1 = 2 * right / (found.sum(0) + y.sum(0)).clamp_min(1)
        return {"f1": f1.mean().item(), "exact": (found == y).all(1).float().mean().item()}

    def votes(self, y: Tensor) -> Tensor:
        return y

    def logits_from(self, prediction: Tensor) -> Tensor:
        return prediction.logit(1e-6)

    def facts(self, y: Values) -> list[Fact]:
        counts = as_tensor(y).sum(0).long().tolist()
        return [("tags", ", ".join(f"{n} {c}" for n, c in zip(self.classes, counts, strict=True)))]


def _split(raw: Any) -> list[list[str] | None]:
    texts = ["" if value is None or value != value else str(value) for value in list(raw)]
    return [
        None if not text else [tag for tag in text.split(";") if tag != "none"] for text in texts
    ]


@pytest.fixture(autouse=True, scope="module")
def _no_task_is_left_behind() -> Iterator[None]:
    """Other tests look at every task there is, and count this one only while its own run."""
    catalog.TASKS["tags"] = (catalog.TaskCard("tags", target=f"{__name__}:Tags"), Tags)
    yield
    del catalog.TASKS["tags"]


del catalog.TASKS["tags"]


def rows(path: Path, count: int = 120, labelled: int = 80) -> Path:
    """A table of shapes: red where `hue` is high, and round where `corners` is low."""
    lines = []
    for row, (hue, corners, noise) in enumerate(np.random.default_rng(0).normal(size=(count, 3))):
        tags = ["red"] * int(hue > 0) + ["round"] * int(corners < 0)
        said = (";".join(tags) or "none") if row < labelled else ""
        lines.append(f"{hue},{corners},{noise},{said}")
    path.write_text("\n".join(["hue,corners,noise,what", *lines]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = rows(tmp_path_factory.mktemp("shapes") / "shapes.csv")
    return tacita.load(path, labels="what", task="tags")


def test_it_is_read_described_and_split(data: Dataset) -> None:
    assert data.task == Tags(("red", "round"))
    assert data.y.shape == (120, 2)
    assert int(data.labelled.sum()) == 80
    lines = describe(data).lines()
    assert "80 labelled of 120" in lines[0]
    assert lines[1].startswith("tags      red ")
    assert enough_to_hold_out(data)
    kept, held = hold_out(data, 0.25, 0)
    assert (len(kept), len(held)) == (60, 20)
    assert len(cross_validation(data, 0)) == 5
    with pytest.raises(ConfigError, match="labels_per_class was given, but the task is tags"):
        draw_labels(data, 2, 0)
    with pytest.raises(DataError, match="has the tag 'red', which is new"):
        data.recoded(Tags(("round",)))


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
@pytest.mark.parametrize("method", ["supervised", "linear-probe", "knn", "fine-tune"])
def test_it_is_learnt_saved_loaded_and_predicted(
    data: Dataset, method: str, tmp_path: Path
) -> None:
    steps = {"steps": 60} if method in ("supervised", "fine-tune") else {}
    model = tacita.adapt(method, data, out=tmp_path / "run", quiet=True, **steps)
    loaded = Model.load(tmp_path / "run")
    assert loaded.task == data.task
    predicted = loaded.predict(data)
    assert set(predicted) <= {"red", "round", "red;round", "none"}
    assert (predicted == model.predict(data)).all()
    assert loaded.predict_proba(data).shape == (120, 2)
    truth = rows(tmp_path / "all.csv", labelled=120)
    scores = loaded.evaluate_file(truth, labels="what")
    assert scores["f1"] > 0.7
    assert scores == loaded.evaluate(tacita.load(truth, labels="what", task="tags"))
    assert loaded.predict_file(truth, tmp_path / "p.csv", proba=True) == 120
    written = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert list(written[0]) == ["id", "predicted", "red", "round"]
    assert [row["predicted"] for row in written] == predicted.tolist()
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "tags      red" in page
    assert 'id="classes"' not in page


def test_it_is_compared_and_what_cannot_learn_it_is_left_out_with_a_reason(data: Dataset) -> None:
    few = tacita.compare(data, ["linear-probe", "knn"], quiet=True)
    assert {row.metric for row in few.metrics.leaderboard} == {"f1"}
    for method, said in (
        ("random-forest", "tags is not learnt by scikit-learn"),
        ("label-spreading", "label-spreading does not do tags"),
        ("fixmatch", "fixmatch does not do tags"),
    ):
        with pytest.raises(ConfigError, match=said):
            tacita.adapt(method, data, quiet=True)


def test_cards_may_name_it_and_files_of_the_room_are_found_without_being_imported(
    tmp_path: Path,
) -> None:
    assert discover.get("knn").learns("tags")
    right = {"title": "T", "family": "adapt", "summary": "S."}
    assert cards.Card("mine", **right, tasks=("tags",)).learns("tags")  # type: ignore[arg-type]
    room = tmp_path / "tacita" / "tasks"
    room.mkdir(parents=True)
    text = '@task("shelf", learnt_as="tags")\nclass Shelf: ...\nraise RuntimeError("imported")\n'
    (room / "shelf.py").write_text(text, encoding="utf-8")
    assert catalog._scan(room) == {
        "shelf": catalog.TaskCard("shelf", "tags", target="tacita.tasks.shelf:Shelf")
    }
