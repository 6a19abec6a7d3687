"""Single steps: what pretrain leaves is what adapt starts from, and both can be resumed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import tacita
from tacita.data.dataset import Dataset
from tacita.errors import ConfigError, DataError
from tacita.learner import NetworkLearner
from tacita.modalities.load import load
from tacita.model.model import Model
from tacita.verbs.screen import Screen


def few_digits() -> Dataset:
    return load("digits").subset(torch.arange(600))


def pretrained(folder: Path, **options: object) -> Model:
    settings = {
        "steps": 20,
        "out": folder,
        "quiet": True,
        "encoder": "residual-cnn",
        "encoder.width": 8,
        **options,
    }
    return tacita.pretrain("barlow-twins", few_digits(), **settings)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A pretrained model in a folder: what starts from it leaves it alone, as a test says."""
    return pretrained(tmp_path_factory.mktemp("first") / "encoder")


def test_a_pretrained_model_embeds_and_says_what_it_cannot_do(first: Model) -> None:
    model, folder = first, first.folder
    assert folder is not None
    again = Model.load(folder)
    data = load("digits").subset(torch.arange(50))
    assert model.embed(data).shape == (50, 32)
    assert (model.embed(data) == again.embed(data)).all()
    assert model.metrics.health is not None
    health = again.metrics.health
    assert health is not None
    assert health["embedding_dim"] == 256
    assert 1 < health["embedding_rank"] < 256  # type: ignore[operator]
    assert 1 < health["effective_rank"] < health["dim"] == 32  # type: ignore[operator]
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "embedding rank" in page
    with pytest.raises(ConfigError, match="adapt"):
        model.predict(data)


def test_a_collapse_during_training_is_a_line_on_the_screen_and_no_stop(
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = {"projector": [8, 512], "learning_rate": 0.05, "off_diagonal": 0.0, "steps": 100}
    model = tacita.pretrain(
        "barlow-twins", "wine", **options, **{"encoder": "feature-tokens", "encoder.depth": 1}
    )
    said = capsys.readouterr().out
    warned = [line for line in said.splitlines() if line.startswith("warning")]
    assert any("step 100: the rank of the embeddings is" in line for line in warned)
    assert model.metrics.health is not None


def test_no_label_is_needed_or_used_to_pretrain(tmp_path: Path) -> None:
    data = few_digits()
    options = {"steps": 10, "quiet": True, "encoder": "residual-cnn", "encoder.width": 8}
    with_labels = tacita.pretrain("barlow-twins", data, **options)
    without = tacita.pretrain("barlow-twins", data.x.numpy(), **options)
    assert (with_labels.embed(data) == without.embed(data)).all()


def test_adapting_starts_from_the_pretrained_encoder_and_leaves_it_alone(
    first: Model, tmp_path: Path
) -> None:
    model, digits = first, few_digits()
    assert isinstance(model.learner, NetworkLearner)
    before = {k: v.clone() for k, v in model.learner.encoder.state_dict().items()}
    probe = tacita.adapt("linear-probe", digits, start=model, quiet=True, out=tmp_path / "probe")
    tuned = tacita.adapt("fine-tune", digits, start=model, steps=5, quiet=True, out=tmp_path / "f")
    for name, value in model.learner.encoder.state_dict().items():
        assert torch.equal(value, before[name])
    assert isinstance(probe.learner, NetworkLearner)
    assert isinstance(tuned.learner, NetworkLearner)
    same = probe.learner.encoder.state_dict()
    assert all(torch.equal(same[name], value) for name, value in before.items())
    assert any(
        not torch.equal(tuned.learner.encoder.state_dict()[name], value)
        for name, value in before.items()
    )
    assert probe.recipe.pretrain == model.recipe.pretrain
    assert probe.metrics.held_out is not None
    assert probe.metrics.held_out["accuracy"] > 0.8
    assert (Model.load(tmp_path / "probe").predict(digits) == probe.predict(digits)).all()


def test_adapting_keeps_the_normaliser_of_the_pretraining(first: Model) -> None:
    data, model = few_digits(), first
    brighter = tacita.as_dataset((data.x // 2).numpy(), data.y.numpy(), modality="images")
    probe = tacita.adapt("knn", brighter, start=model, quiet=True)
    ours, theirs = probe.learner.data_.normaliser, model.learner.data_.normaliser
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours.mean, theirs.mean)


def test_pretraining_goes_on_from_a_models_encoder_on_new_data(first: Model) -> None:
    model, data = first, few_digits()
    new = tacita.as_dataset((data.x[:300] // 2).numpy(), modality="images")
    still = {"steps": 1, "learning_rate": 0.0, "quiet": True}
    same = tacita.pretrain("barlow-twins", new, start=model.folder, **still)
    more = tacita.pretrain("barlow-twins", new, start=model, steps=5, quiet=True)
    networks = [dict(m.learner.encoder.named_parameters()) for m in (model, same, more)]
    assert all(torch.equal(networks[0][name], value) for name, value in networks[1].items())
    assert any(not torch.equal(networks[0][name], value) for name, value in networks[2].items())
    assert same.recipe.encoder == model.recipe.encoder
    assert same.recipe.encoder is not None
    ours, theirs = same.learner.data_.normaliser, model.learner.data_.normaliser
    assert ours is not None
    assert theirs is not None
    assert torch.equal(ours.mean, theirs.mean)


def test_pretraining_from_a_model_refuses_other_data_and_another_encoder(first: Model) -> None:
    model = first
    with pytest.raises(ConfigError, match="images of shape"):
        tacita.pretrain("barlow-twins", "wine", start=model, quiet=True)
    for verb, method in ((tacita.pretrain, "barlow-twins"), (tacita.adapt, "linear-probe")):
        with pytest.raises(ConfigError, match="beside a model to start from"):
            verb(method, "digits", start=model, quiet=True, encoder="vit")


def test_a_trainings_rows_are_on_disk_as_they_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def look(self: Screen, name: str, training: str, step: int) -> None:
        text = (tmp_path / "run" / "work" / "progress.jsonl").read_text()
        seen.append(json.loads(text.splitlines()[-1])["candidate"])
        assert json.loads(text.splitlines()[-1])["step"] == step

    monkeypatch.setattr(Screen, "tick", look)
    pretrained(tmp_path / "run", steps=40)
    assert seen == ["barlow-twins"] * 2
    assert not (tmp_path / "run" / "work").exists()


def test_an_encoder_of_other_data_is_refused(first: Model) -> None:
    with pytest.raises(ConfigError, match="images of shape"):
        tacita.adapt("linear-probe", "wine", start=first, quiet=True)


def test_compare_gives_a_row_a_method() -> None:
    model = tacita.compare(
        "wine", "knn,random-forest,linear-probe", quiet=True, out=None, draws=None
    )
    assert {row.name for row in model.metrics.leaderboard} == {
        "knn",
        "random-forest",
        "linear-probe",
    }


@pytest.mark.parametrize(
    "options, words",
    [
        ({"stepz": 3}, "did you mean"),
        ({"steps": "many"}, "steps"),
        ({"encoder": "residual-conv"}, "series"),
        ({"batch_size": 4000}, "larger than"),
    ],
)
def test_a_wrong_option_is_named_before_anything_is_written(
    tmp_path: Path, options: dict[str, object], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        pretrained(tmp_path / "encoder", **options)
    assert not (tmp_path / "encoder" / "model.safetensors").exists()


def test_adapting_needs_labels() -> None:
    with pytest.raises(DataError, match="has a label"):
        tacita.adapt("linear-probe", np.random.default_rng(0).normal(size=(20, 3)), quiet=True)
