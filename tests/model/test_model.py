"""A model on disk is the model in memory, to the bit; and a folder that was tampered with is refused."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import pickle
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

import tacita
from tacita.data.dataset import Dataset
from tacita.engine.checkpoint import read_tensors, write_tensors
from tacita.errors import CheckpointError, ConfigError, DataError
from tacita.learner import EncoderOnly, NetworkLearner
from tacita.model.folder import digest
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tests.models import KINDS, WORDS, data_of, model_of, quick_model

HAS_AEON = importlib.util.find_spec("aeon") is not None
WITHOUT_HEAD = "barlow-twins"
TABLE = ("linear-probe", "regression")


def kinds() -> list[Any]:
    return [
        pytest.param(
            *kind,
            marks=[pytest.mark.slow, pytest.mark.skipif(not HAS_AEON, reason="needs aeon")]
            if kind[0] in ("minirocket", "minirocket-self-training", "quant")
            else [],
        )
        for kind in KINDS
    ]


def sealed(folder: Path) -> Path:
    """The folder as someone would send it who knows how its digest is made."""
    tensors, metadata = read_tensors(folder / "model.safetensors", remedy="")
    kept = ("baseline.safetensors", "ledger.json")
    files = [name for name in kept if (folder / name).exists()]
    metadata = {**metadata, "digest": digest(folder, files, tensors)}
    write_tensors(folder / "model.safetensors", tensors, metadata)
    return folder


def logits(model: Model, data: Dataset) -> torch.Tensor:
    return model.learner.logits(data)


# Saved and loaded


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
@pytest.mark.parametrize(("method", "kind"), kinds())
def test_a_loaded_model_is_the_model_that_was_saved(method: str, kind: str, tmp_path: Path) -> None:
    model, data = model_of(method, kind), data_of(kind)
    model.save(tmp_path)
    loaded = Model.load(tmp_path)
    assert repr(loaded) == repr(model)
    assert loaded.recipe == model.recipe
    assert loaded.schema == model.schema
    assert loaded.metrics == model.metrics
    if isinstance(model.learner, NetworkLearner):
        assert np.array_equal(loaded.embed(data), model.embed(data))
    if method == WITHOUT_HEAD:
        with pytest.raises(ConfigError, match="no head yet"):
            loaded.predict(data)
        return
    assert torch.equal(logits(loaded, data), logits(model, data))
    assert np.array_equal(loaded.predict(data), model.predict(data))
    assert loaded.evaluate(data) == model.evaluate(data)
    if kind != "regression":
        proba = loaded.predict_proba(data)
        assert np.array_equal(proba, model.predict_proba(data))
        assert proba.sum(1) == pytest.approx(np.ones(len(data)), abs=1e-5)


def test_labels_are_in_the_users_words() -> None:
    found = set(model_of("knn", "images").predict(data_of("images")).tolist())
    assert found <= set(WORDS)
    assert len(found) > 3
    assert set(model_of("fixmatch", "series").predict(data_of("series"))) <= {"low", "high"}
    assert model_of(*TABLE).predict(data_of("regression")).dtype == np.float64


def test_saving_twice_gives_the_same_files(tmp_path: Path) -> None:
    model_of(*TABLE).save(tmp_path / "a")
    Model.load(tmp_path / "a").save(tmp_path / "b")
    for path in (tmp_path / "a").iterdir():
        assert (tmp_path / "b" / path.name).read_bytes() == path.read_bytes(), path.name


@pytest.mark.parametrize("kind", [("knn", "images"), ("random-forest", "tables")])
def test_what_is_saved_is_what_the_learner_says(kind: tuple[str, str], tmp_path: Path) -> None:
    model = model_of(*kind).save(tmp_path)
    modules = {"normaliser": model.learner.data_.normaliser, **model.learner.modules()}
    expected = {f"{name}/{key}" for name, module in modules.items() for key in module.state_dict()}
    assert set(load_file(tmp_path / "model.safetensors")) == expected
    assert set(model.learner.files) <= {path.name for path in tmp_path.iterdir()}
    assert {path.name for path in tmp_path.glob("baseline.*")} <= set(model.learner.files)


def test_metrics_are_what_their_schema_says(tmp_path: Path) -> None:
    model = model_of(*TABLE).save(tmp_path)
    text = (tmp_path / "metrics.json").read_text()
    assert Metrics.model_validate_json(text, strict=True) == model.metrics
    assert set(json.loads(text)) == set(Metrics.model_fields)


# Files


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The diabetes samples as a CSV file, of which some have no target."""
    data = data_of("regression")
    path = tmp_path_factory.mktemp("table") / "d.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*data.meta.columns, "target"])
        for row, y in zip(data.x.tolist(), data.y.tolist(), strict=True):
            writer.writerow([*row, "" if np.isnan(y) else y])
    return path


@pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
def test_files_give_what_memory_gives_chunk_by_chunk(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: list[int] = []
    model, data = model_of(*TABLE), data_of("regression")
    read = Model.predict_file.__globals__["read_like"]

    def chunked(source: Any, schema: Any, **options: Any) -> Any:
        for part in read(source, schema, **{**options, "chunk": 7}):
            parts.append(len(part))
            yield part

    monkeypatch.setattr("tacita.model.model.read_like", chunked)
    assert model.predict_file(table, tmp_path / "p.csv") == 60
    assert len(parts) == 9
    rows = list(csv.DictReader((tmp_path / "p.csv").read_text().splitlines()))
    assert [float(row["predicted"]) for row in rows] == pytest.approx(model.predict(data).tolist())
    assert len({row["id"] for row in rows}) == 60
    assert model.embed_file(table, tmp_path / "e.npy") == 60
    features = np.load(tmp_path / "e.npy", allow_pickle=False)
    ids = pd.read_csv(tmp_path / "e.ids.csv", dtype=str)["id"].tolist()
    model.embed_file(table, tmp_path / "e.csv")
    model.embed_file(table, tmp_path / "e.parquet")
    for named in (pd.read_csv(tmp_path / "e.csv"), pd.read_parquet(tmp_path / "e.parquet")):
        assert named["id"].astype(str).tolist() == ids
        np.testing.assert_allclose(named.drop(columns="id").to_numpy(), features, rtol=1e-6)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, model.embed(data), rtol=1e-5, atol=1e-6)
    expected = model.evaluate(data)
    assert model.evaluate_file(table) == pytest.approx(expected, rel=1e-4)


def test_probabilities_are_written_under_the_names_of_the_classes(tmp_path: Path) -> None:
    model, data = model_of("knn", "images"), data_of("images")
    np.save(tmp_path / "x.npy", data.x.numpy())
    model.predict_file(tmp_path / "x.npy", tmp_path / "p.csv", proba=True)
    model.predict_file(tmp_path / "x.npy", tmp_path / "p.jsonl", proba=True, as_json=True)
    objects = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    options = {"dtype": {"id": str, "predicted": str}, "keep_default_na": False}
    told = pd.read_csv(tmp_path / "p.csv", **options)
    assert [row["id"] for row in objects] == told["id"].tolist()
    assert [str(row["predicted"]) for row in objects] == told["predicted"].tolist()
    for name in objects[0]["probabilities"]:
        assert [row["probabilities"][name] for row in objects] == told[name].tolist()
    rows = list(csv.reader((tmp_path / "p.csv").read_text(encoding="utf-8").splitlines()))
    assert tuple(rows[0][2:]) == model.task.classes
    found = np.array([row[2:] for row in rows[1:]], dtype=float)
    np.testing.assert_allclose(found, model.predict_proba(data), atol=1e-6)


def test_ids_and_classes_that_a_spreadsheet_would_run_are_escaped_where_asked(
    tmp_path: Path,
) -> None:
    x = np.linspace(0, 1, 24)[:, None] + np.zeros((1, 3))
    frame = pd.DataFrame(x, columns=["a", "b", "c"])
    frame["id"] = [f"@{i}" for i in range(24)]
    frame["kind"] = np.where(x[:, 0] > 0.5, "=1+1", "-1")
    frame.to_csv(tmp_path / "t.csv", index=False)
    model = tacita.adapt("knn", tmp_path / "t.csv", labels="kind", encoder="feature-tokens",
                         quiet=True, out=tmp_path / "run")  # fmt: skip
    for escape in (True, False):
        model.predict_file(tmp_path / "t.csv", tmp_path / "p.csv", True, escape_formulas=escape)
        model.embed_file(tmp_path / "t.csv", tmp_path / "e.csv", escape_formulas=escape)
        model.embed_file(tmp_path / "t.csv", tmp_path / "e.npy", escape_formulas=escape)
        mark = "'" if escape else ""
        told = list(csv.reader((tmp_path / "p.csv").read_text().splitlines()))
        assert told[0] == ["id", "predicted", "-1", f"{mark}=1+1"]
        assert {line[1] for line in told[1:]} == {"-1", f"{mark}=1+1"}
        assert all(0 <= float(share) <= 1 for line in told[1:] for share in line[2:])
        for name in ("p.csv", "e.csv", "e.ids.csv"):
            lines = list(csv.reader((tmp_path / name).read_text().splitlines()))
            assert [line[0] for line in lines[1:]] == [f"{mark}@{i}" for i in range(24)]
            if name == "e.csv":
                figures = np.array([line[1:] for line in lines[1:]], float)
                assert (figures < 0).any()


def test_what_cannot_be_written_leaves_nothing(table: Path, tmp_path: Path) -> None:
    model = model_of(*TABLE)
    with pytest.raises(ConfigError, match="no classes"):
        model.predict_file(table, tmp_path / "p.csv", proba=True)
    with pytest.raises(ConfigError, match=r"written as \.npy, \.csv, \.parquet"):
        model.embed_file(table, tmp_path / "e.txt")
    with pytest.raises(ConfigError, match="baseline"):
        model_of("ridge", "regression").embed_file(table, tmp_path / "e.npy")
    with pytest.raises(DataError):
        model.predict_file(tmp_path / "none.csv", tmp_path / "p.csv")
    with pytest.raises(DataError, match="no sample has a label"):
        model.evaluate(data_of("regression").subset(torch.arange(50, 60)))
    assert list(tmp_path.iterdir()) == []


# Damaged folders

REFUSED = (CheckpointError, ConfigError)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of a network and one of a baseline."""
    folders = {}
    for name, kind in {
        "network": ("knn", "images"),
        "baseline": ("random-forest", "tables"),
    }.items():
        folders[name] = tmp_path_factory.mktemp(name)
        model_of(*kind).save(folders[name])
    return folders


FILES = [
    ("network", "recipe.yaml"),
    ("network", "labels.json"),
    ("network", "metrics.json"),
    ("network", "model.safetensors"),
    ("baseline", "baseline.safetensors"),
    ("baseline", "model.safetensors"),
]


@pytest.fixture
def copy(saved: dict[str, Path], tmp_path: Path) -> Any:
    def copied(kind: str) -> Path:
        return Path(shutil.copytree(saved[kind], tmp_path / kind))

    return copied


def damaged(folder: Path, name: str, content: bytes | None) -> Exception | None:
    """What loading says when one file is other; the file is put back."""
    path = folder / name
    whole = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Model.load(folder)
    except REFUSED as error:
        return error
    finally:
        path.write_bytes(whole)
    return None


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_missing_file_is_refused(kind: str, name: str, saved: dict[str, Path]) -> None:
    assert damaged(saved[kind], name, None) is not None


@pytest.mark.parametrize(("kind", "name"), FILES)
def test_a_file_cut_short_is_refused(kind: str, name: str, saved: dict[str, Path]) -> None:
    whole = (saved[kind] / name).read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9):
        assert damaged(saved[kind], name, whole[: int(share * len(whole))]) is not None, share


@pytest.mark.parametrize(("kind", "name"), FILES)
@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_a_flipped_bit_is_refused(
    kind: str, name: str, saved: dict[str, Path], data: st.DataObject
) -> None:
    whole = (saved[kind] / name).read_bytes()
    content = bytearray(whole)
    content[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    error = damaged(saved[kind], name, bytes(content))
    # metrics.json holds figures for people: another digit in it changes no prediction.
    assert error is not None or name == "metrics.json"


def test_the_files_of_two_models_are_refused(
    saved: dict[str, Path], copy: Any, tmp_path: Path
) -> None:
    folder = copy("network")
    text = (folder / "labels.json").read_text(encoding="utf-8")
    swapped = text.replace('"eins"', '"?"').replace('"zwei"', '"eins"').replace('"?"', '"zwei"')
    assert swapped != text
    (folder / "labels.json").write_text(swapped, encoding="utf-8")
    with pytest.raises(CheckpointError, match="of two models"):
        Model.load(folder)


def test_a_file_of_another_kind_of_learner_is_refused(saved: dict[str, Path], copy: Any) -> None:
    folder = copy("network")
    shutil.copy(saved["baseline"] / "baseline.safetensors", folder)
    with pytest.raises(CheckpointError, match="do not belong together"):
        Model.load(sealed(folder))


def test_the_recipe_of_another_encoder_is_refused(copy: Any) -> None:
    folder = copy("network")
    recipe = (folder / "recipe.yaml").read_text()
    for other in (
        recipe.replace("width: 4", "width: 5"),
        recipe.replace("residual-cnn", "vit").replace("  width: 4\n", ""),
    ):
        assert other != recipe
        (folder / "recipe.yaml").write_text(other)
        with pytest.raises(CheckpointError, match=r"model\.safetensors: encoder/"):
            Model.load(folder)
    without = {k: v for k, v in yaml.safe_load(recipe).items() if k != "encoder"}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(without))
    with pytest.raises(CheckpointError, match=r"recipe\.yaml: encoder: is missing"):
        Model.load(folder)
    (folder / "recipe.yaml").write_text(recipe.replace("width: 4", f"width: {2**63}"))
    with pytest.raises(CheckpointError, match=r"recipe\.yaml: its networks cannot be built"):
        Model.load(folder)
    huge = recipe.replace("width: 4", "width: 1000000")
    (folder / "recipe.yaml").write_text(huge)
    with pytest.raises(CheckpointError, match="not of the recipe's shape"):
        Model.load(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"shape": [1, 2**20, 2**20]},
        {"shape": [1, -8, 8]},
        {"shape": [8, 8]},
        {"shape": [2, 8, 8]},
        {"modality": "series"},
        {"modality": "code"},
        {"task": "os.system"},
        {"task": "regression"},
        {"classes": ["a", "b"]},
        {"classes": {"a": 1}},
        {"std": 0.0},
        {"cardinalities": [3]},
        {"more": 1},
    ],
    ids=str,
)
def test_labels_that_make_no_sense_are_refused(change: dict[str, Any], copy: Any) -> None:
    folder = copy("network")
    path = folder / "labels.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **change}))
    with pytest.raises(REFUSED):
        Model.load(folder)


def test_a_file_that_is_too_large_is_not_read(copy: Any) -> None:
    folder = copy("network")
    with (folder / "labels.json").open("ab") as file:
        file.truncate(2**27)
    with pytest.raises(CheckpointError, match="larger than"):
        Model.load(folder)


class Touching:
    """What runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    ("kind", "name"), [("network", "model.safetensors"), ("baseline", "baseline.safetensors")]
)
def test_a_pickle_is_refused_and_not_run(kind: str, name: str, copy: Any, tmp_path: Path) -> None:
    folder = copy(kind)
    (folder / name).write_bytes(pickle.dumps(Touching(tmp_path / "ran")))
    with pytest.raises(CheckpointError):
        Model.load(folder)
    if kind == "baseline":
        with pytest.raises(CheckpointError, match=r"baseline\.safetensors: not a readable"):
            Model.load(sealed(folder))
    assert not (tmp_path / "ran").exists()


def test_an_estimator_of_another_kind_or_width_is_refused(copy: Any, tmp_path: Path) -> None:
    folder = copy("baseline")
    others = (("logistic-regression", "tables"), ("random-forest", "regression"))
    for position, kind in enumerate(others):
        other = model_of(*kind).save(tmp_path / str(position)).folder
        assert other is not None
        shutil.copy(other / "baseline.safetensors", folder)
        with pytest.raises(CheckpointError, match=r"baseline\.safetensors: holds"):
            Model.load(sealed(folder))


@pytest.mark.parametrize("name", ["recipe.yaml", "labels.json", "metrics.json",
                                  "model.safetensors", "baseline.safetensors"])  # fmt: skip
def test_what_is_no_plain_file_is_refused_at_once(name: str, copy: Any, tmp_path: Path) -> None:
    folder = copy("baseline")
    aside = (folder / name).rename(tmp_path / "aside")
    for make in (
        lambda path: path.symlink_to(aside),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
    ):
        make(folder / name)
        with pytest.raises(CheckpointError, match=rf"{name}|no recipe"):
            Model.load(folder)
        (folder / name).rmdir() if (folder / name).is_dir() else (folder / name).unlink()


def test_a_model_of_another_version_says_so_whatever_else_it_has(copy: Any) -> None:
    folder = copy("network")
    path = folder / "labels.json"
    whole = json.loads(path.read_text(encoding="utf-8"))
    for version, word in ((7, "a newer tacita"), (0, "an older tacita")):
        path.write_text(json.dumps({**whole, "format": version, "something": "new"}))
        with pytest.raises(CheckpointError, match=rf"labels\.json: format {version}") as error:
            Model.load(folder)
        assert word in error.value.remedy


def test_tensors_of_another_shape_type_or_value_are_refused(copy: Any) -> None:
    folder = copy("network")
    path = folder / "model.safetensors"
    whole = load_file(path)
    for name in ("normaliser/mean", "encoder/stages.0.0.weight", "head/memory"):
        for other in (
            whole[name].half(),
            whole[name][..., :0],
            whole[name] * torch.nan,
            whole[name].sum(),
        ):
            save_file({**whole, name: other.contiguous()}, path)
            with pytest.raises(CheckpointError, match=r"model\.safetensors"):
                Model.load(sealed(folder))


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CheckpointError, match="not a model folder"):
            Model.load(path)


def test_a_pretrained_model_embeds_and_says_what_it_lacks() -> None:
    model = model_of(WITHOUT_HEAD, "images")
    assert isinstance(model.learner, EncoderOnly)
    assert model.embed(data_of("images")).shape == (60, 16)
    with pytest.raises(ConfigError) as error:
        model.predict(data_of("images"))
    assert "tacita adapt" in error.value.remedy


@pytest.mark.parametrize("kind", ["forest", "boosting"])
@pytest.mark.parametrize("field", ["left", "feature"])
def test_a_tree_that_points_outside_of_itself_is_refused(
    kind: str, field: str, tmp_path: Path
) -> None:
    method = {"forest": "random-forest", "boosting": "gradient-boosting"}[kind]
    model = quick_model(method, "tables")
    estimator = model.learner.estimator_  # type: ignore[attr-defined]
    if kind == "forest":
        tree = estimator.estimators_[0].tree_
        state = tree.__getstate__()
        state["nodes"][{"left": "left_child", "feature": "feature"}[field]][0] = 10**6
        tree.__setstate__(state)
    else:
        nodes = estimator._predictors[0][0].nodes
        nodes[{"left": "left", "feature": "feature_idx"}[field]][0] = 10**6
    model.save(tmp_path)
    with pytest.raises(CheckpointError, match=rf"baseline\.safetensors: 0/{field} "):
        Model.load(tmp_path)
