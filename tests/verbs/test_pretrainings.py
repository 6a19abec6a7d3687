"""Ways to pretrain compared: with labels by probes, without any by what may be said, and on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tacita
from tacita.adapt.linear_probe import LinearProbe
from tacita.audit.health.rankme import embeddings, rankme
from tacita.catalog.recipe import Recipe, Section, find_recipe
from tacita.data.dataset import Dataset
from tacita.data.splits import drawn
from tacita.engine.train import train
from tacita.errors import ConfigError, DataError, DryRun
from tacita.modalities.load import load
from tacita.model.build import encoder_for, pretraining_for, training_options
from tacita.model.metrics import Metrics, PretrainingRow
from tacita.model.model import Model
from tacita.verbs import pretrainings
from tacita.verbs.budget import Costs
from tacita.verbs.plan import load_plan
from tacita.verbs.pretrainings import judged
from tacita.verbs.screen import Screen

RECIPE = """format: 1
name: {name}
encoder: {{method: residual-cnn, width: 4}}
pretrain: {{method: {method}, projector: [32, 32], {options}train: {{steps: {steps}, batch_size: 64{rate}}}}}
"""


def written(
    folder: Path, name: str, method: str, options: str = "", steps: int = 4, rate: str = ""
) -> str:
    path = folder / f"{name}.yaml"
    rate = rate and f", learning_rate: {rate}"
    path.write_text(
        RECIPE.format(name=name, method=method, options=options, steps=steps, rate=rate)
    )
    return str(path)


@pytest.fixture
def three(tmp_path: Path) -> list[str]:
    return [written(tmp_path, m, m) for m in ("barlow-twins", "simclr", "vicreg")]


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits").subset(torch.arange(450))


def without_labels(data: Dataset) -> Dataset:
    return data.hide_labels(torch.empty(0, dtype=torch.int64))


def test_with_labels_the_probe_ranks_and_everything_is_kept(
    three: list[str], digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tacita.compare(digits, three, out=tmp_path / "run")
    rows = model.metrics.pretrainings
    assert {row.name for row in rows} == {"barlow-twins", "simclr", "vicreg"}
    probes = [row.probe for row in rows]
    assert probes == sorted(probes, reverse=True)  # type: ignore[type-var]
    assert model.metrics.winner == model.recipe.name == rows[0].name
    for row in rows:
        assert row.error is None
        assert row.probe is not None
        assert row.knn is not None
        assert row.rank is not None
        assert row.seconds is not None
        assert 0.3 < row.knn <= 1
        assert 1 < row.rank < 32 == row.width
        assert row.steps == 4
    assert model.metrics.held_out is not None
    said = capsys.readouterr().out
    assert f"{rows[0].name} is best by the linear probe" in said
    for word in ("probe", "knn", "rank", "alignment", "uniformity", "peak MB"):
        assert word in said
    assert Metrics.model_validate_json((tmp_path / "run" / "metrics.json").read_bytes()) == (
        model.metrics
    )
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Pretrainings as a table" in page
    sample = digits.subset(torch.arange(20))
    for row in rows:
        kept = Model.load(tmp_path / "run" / "encoders" / row.name)
        assert kept.metrics.pretrainings == [row]
        assert kept.embed(sample).shape == (20, 16)
    best = Model.load(tmp_path / "run" / "encoders" / rows[0].name)
    assert (best.embed(sample) == model.embed(sample)).all()


def test_the_figures_are_those_of_a_training_by_hand(digits: Dataset, tmp_path: Path) -> None:
    recipe = written(tmp_path, "one", "simclr")
    model = tacita.compare(digits, [recipe], out=tmp_path / "run", quiet=True)
    row = model.metrics.pretrainings[0]
    plan = load_plan(tmp_path / "run" / "plan.json")
    aside = torch.isin(digits.index, torch.tensor(plan.splits.held_out))
    pool = digits.subset(~aside).normalised()
    resolved = plan.recipes[0]
    objective = pretraining_for(resolved, encoder_for(resolved, pool.spec))
    train(objective, pool, **training_options(resolved, "pretrain"))
    assert len(pool) >= 320  # ten a feature
    assert row.rank == pytest.approx(rankme(embeddings(objective, drawn(pool))), rel=1e-3)
    scores = []
    position = {int(index): i for i, index in enumerate(pool.index)}
    for seen, scored in zip(plan.splits.train, plan.splits.score, strict=True):
        few = pool.hide_labels(torch.tensor([position[i] for i in seen]))
        part = pool.subset(torch.tensor([position[i] for i in scored]))
        scores.append(LinearProbe(objective.encoder).fit(few).score(part))
    assert row.probe == pytest.approx(np.mean(scores))
    probe = LinearProbe(objective.encoder).fit(pool)
    assert model.metrics.held_out is not None
    assert model.metrics.held_out["accuracy"] == pytest.approx(probe.score(digits.subset(aside)))


def test_without_any_label_all_are_tabulated_and_no_method_is_said_to_win(
    three: list[str], digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tacita.compare(without_labels(digits), three, out=tmp_path / "run")
    rows = model.metrics.pretrainings
    assert [row.name for row in rows] == ["barlow-twins", "simclr", "vicreg"]
    assert all(row.probe is None and row.knn is None and row.rank is not None for row in rows)
    assert model.metrics.held_out is None
    said = capsys.readouterr().out
    assert "rank compares runs of one method" in said
    assert "barlow-twins is given back" in said
    assert "probe" not in said
    assert {path.name for path in (tmp_path / "run" / "encoders").iterdir()} == {
        "barlow-twins", "simclr", "vicreg",
    }  # fmt: skip


def test_runs_of_one_method_are_chosen_by_rank(
    digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Without the redundancy term, embeddings are left to say the same.
    runs = [
        written(tmp_path, "poor", "barlow-twins", "off_diagonal: 0.0, ", steps=60, rate="0.01"),
        written(tmp_path, "good", "barlow-twins", "off_diagonal: 0.1, ", steps=60, rate="0.01"),
    ]
    model = tacita.compare(without_labels(digits), runs)
    rows = model.metrics.pretrainings
    assert [row.name for row in rows] == ["good", "poor"]
    assert rows[0].rank is not None
    assert rows[1].rank is not None
    assert rows[0].rank > 1.2 * rows[1].rank
    assert model.recipe.name == "good"
    assert "good has the highest rank of 2 runs of barlow-twins" in capsys.readouterr().out


def row(name: str, method: str, **figures: float) -> PretrainingRow:
    return PretrainingRow(name=name, method=method, steps=1, width=8, **figures)  # type: ignore[arg-type]


def recipe(method: str, encoder: str = "vit") -> Recipe:
    return Recipe(name="x", encoder=Section(method=encoder), pretrain=Section(method=method))


def test_several_runs_of_several_methods_are_chosen_within_each() -> None:
    rows = [
        row("a1", "vicreg", rank=3.0), row("a2", "vicreg", rank=5.0),
        row("b1", "simclr", rank=7.0), row("b2", "simclr", rank=6.0), row("c", "byol", rank=8.0),
    ]  # fmt: skip
    recipes = [recipe(each.method) for each in rows]
    ordered, best, reason = judged(rows, recipes)
    assert ordered == rows
    assert best == "a2"
    assert "by rank a2 of 2 runs of vicreg; by rank b1 of 2 runs of simclr" in reason
    assert "does not tell which method is best" in reason


def test_of_runs_within_the_noise_the_first_named_is_kept_and_it_is_said() -> None:
    rows = [row("cheap", "vicreg", rank=7.99), row("dear", "vicreg", rank=8.0)]
    ordered, best, reason = judged(rows, [recipe("vicreg")] * 2)
    assert [each.name for each in ordered] == ["dear", "cheap"]
    assert best == "cheap"
    assert reason == (
        "cheap is kept: its rank is within a hundredth of the highest of 2 runs of vicreg."
    )


def test_another_encoder_is_another_kind_of_run() -> None:
    rows = [row("small", "vicreg", rank=3.0), row("large", "vicreg", rank=5.0)]
    _, best, reason = judged(rows, [recipe("vicreg"), recipe("vicreg", "residual-cnn")])
    assert best == "small"
    assert "does not tell" in reason


def test_what_failed_stands_last_and_if_all_did_it_is_said() -> None:
    rows = [
        PretrainingRow(name="bad", method="byol", steps=1, error="it became nan"),
        row("poor", "vicreg", probe=0.5, rank=2.0),
        row("good", "simclr", probe=0.9, rank=1.0),
    ]
    recipes = [recipe(each.method) for each in rows]
    ordered, best, _ = judged(rows, recipes)
    assert [each.name for each in ordered] == ["good", "poor", "bad"]
    assert best == "good"
    with pytest.raises(ConfigError, match=r"No candidate could be trained \(bad: it became nan\)"):
        judged(rows[:1], recipes[:1])


def test_a_candidate_that_diverges_leaves_the_others_their_result(
    digits: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = written(tmp_path, "bad", "vicreg", rate="1.0e+38")
    good = written(tmp_path, "good", "vicreg")
    model = tacita.compare(digits, [bad, good], out=tmp_path / "run")
    assert [each.name for each in model.metrics.pretrainings] == ["good", "bad"]
    assert model.metrics.pretrainings[1].error is not None
    assert "failed    bad: " in capsys.readouterr().out
    assert [path.name for path in (tmp_path / "run" / "encoders").iterdir()] == ["good"]


def test_a_budget_is_shared_out_evenly(
    three: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[tuple[int, float]] = []

    def fit_to(recipes: list[Recipe], costs: Costs, folds: int, budget: float):  # type: ignore[no-untyped-def]
        shares.append((len(recipes), budget))
        return recipes, costs, {}

    monkeypatch.setattr(pretrainings, "fit_to_budget", fit_to)
    with pytest.raises(DryRun):
        tacita.compare("digits", three, budget="90s", dry_run=True, quiet=True)
    assert shares == [(1, 30.0)] * 3


def test_a_run_can_be_repeated_from_its_folder(
    three: list[str], digits: Dataset, tmp_path: Path
) -> None:
    plain = without_labels(digits)
    first = tacita.compare(plain, three, out=tmp_path / "run", quiet=True).metrics.pretrainings
    again = tacita.fit(plain, recipe=str(tmp_path / "run"), quiet=True).metrics.pretrainings
    assert [each.rank for each in first] == [each.rank for each in again]


def test_a_comparison_that_was_interrupted_goes_on_to_the_same_result(
    three: list[str], digits: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = without_labels(digits)
    expected = tacita.compare(plain, three, quiet=True).metrics.pretrainings

    class StoppedError(Exception):
        pass

    def interrupt(screen: Screen, row: PretrainingRow) -> None:
        if row.name == "simclr":
            raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(Screen, "pretraining", interrupt)
        with pytest.raises(StoppedError):
            tacita.compare(plain, three, out=tmp_path / "run", quiet=True)
    checkpoints = {path.name for path in (tmp_path / "run" / "work").glob("pretrain-*.safetensors")}
    assert len(checkpoints) == 2
    found = tacita.compare(plain, three, out=tmp_path / "run", resume=True, quiet=True)
    assert [(row.name, row.rank) for row in found.metrics.pretrainings] == [
        (row.name, row.rank) for row in expected
    ]
    assert not (tmp_path / "run" / "work").exists()


def test_a_dry_run_writes_and_trains_nothing(three: list[str], tmp_path: Path) -> None:
    with pytest.raises(DryRun) as stopped:
        tacita.compare("digits", three, dry_run=True, quiet=True, out=tmp_path / "run")
    assert len(stopped.value.plan.recipes) == 3  # type: ignore[attr-defined]
    assert not (tmp_path / "run").exists()


def test_what_cannot_be_compared_is_refused(three: list[str], digits: Dataset) -> None:
    with pytest.raises(ConfigError, match="barlow-twins pretrains and predicts nothing"):
        tacita.compare("digits", "barlow-twins,random-forest", quiet=True)
    with pytest.raises(ConfigError, match="no label for a probe"):
        tacita.compare(without_labels(digits), three, labels_per_class=3, quiet=True)
    lonely = digits.y.clone()
    lonely[1:] = -1
    with pytest.raises(DataError, match="one class"):
        tacita.compare(digits.with_labels(lonely), three, quiet=True)


def test_a_method_that_pretrains_is_a_recipe_by_its_name() -> None:
    found = find_recipe("vicreg")
    found.check()
    assert found.name == found.sections["pretrain"].method == "vicreg"
    assert found.learn is None


@pytest.mark.parametrize("method", ["simclr", "vicreg", "simsiam", "byol"])
@pytest.mark.parametrize("learner", ["linear-probe", "fine-tune"])
def test_joint_embeddings_have_their_recipes(method: str, learner: str) -> None:
    found = find_recipe(f"{method}-{learner}")
    assert found.name == f"{method} + {learner}"
    assert {key: s.method for key, s in found.sections.items()} == {
        "pretrain": method, "learn": learner,
    }  # fmt: skip
