"""An exported file gives what the model gives, on raw samples, in another program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tacita.model.export
from tacita.catalog.recipe import Recipe, Section
from tacita.errors import ConfigError, MissingExtraError
from tacita.model.build import encoder_for, learner_for
from tacita.model.export import ExportError
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tests.models import data_of, model_of

onnxruntime = pytest.importorskip("onnxruntime")

MODELS = [
    ("linear-probe", "regression", "values"),
    ("knn", "series", "probabilities"),
    ("ensemble", "images", "probabilities"),
    pytest.param("fixmatch", "images", "probabilities", marks=pytest.mark.slow),
    pytest.param("supervised", "tables", "probabilities", marks=pytest.mark.slow),
    pytest.param("barlow-twins", "images", "features", marks=pytest.mark.slow),
]


def raw(kind: str, count: int) -> dict[str, np.ndarray[Any, Any]]:
    """The first samples as a program without tacita would have them."""
    data = data_of(kind).subset(torch.arange(count))
    x = data.x.float() / 255 if data.x.dtype == torch.uint8 else data.x
    return {"x": x.numpy()} | ({} if data.lengths is None else {"lengths": data.lengths.numpy()})


def expected(model: Model, kind: str, output: str, count: int) -> np.ndarray[Any, Any]:
    data = data_of(kind).subset(torch.arange(count))
    names = {"values": "predict", "probabilities": "predict_proba", "features": "embed"}
    return getattr(model, names[output])(data)


@pytest.mark.parametrize(("method", "kind", "output"), MODELS)
def test_both_formats_give_the_models_output(
    method: str, kind: str, output: str, tmp_path: Path
) -> None:
    model = Model.load(model_of(method, kind).save(tmp_path / "model").folder)
    session = onnxruntime.InferenceSession(model.export(tmp_path / "a.onnx"))
    program = torch.export.load(model.export(tmp_path / "a.pt2", "torch")).module()
    assert [each.name for each in session.get_outputs()] == [output]
    for count in (1, 2, 60):
        given, wanted = raw(kind, count), expected(model, kind, output, count)
        assert {each.name for each in session.get_inputs()} == set(given)
        np.testing.assert_allclose(session.run(None, given)[0], wanted, rtol=1e-4, atol=1e-5)
        found = program(*map(torch.as_tensor, given.values())).detach().numpy()
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "a.onnx", "a.pt2"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoder", "kind"),
    [("vit", "images"), ("series-transformer", "series"), ("backbone", "images")],
)
def test_every_encoder_is_saved_loaded_and_exported(
    encoder: str, kind: str, tmp_path: Path
) -> None:
    data = data_of(kind)
    recipe = Recipe(name="a", encoder=Section(method=encoder), learn=Section(method="knn"))
    learner = learner_for(recipe, encoder_for(recipe, data.spec)).fit(data)
    Model(recipe, learner, Metrics()).save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    assert torch.equal(loaded.learner.logits(data), learner.logits(data))
    for name, format in (("a.onnx", "onnx"), ("a.pt2", "torch")):
        assert loaded.export(tmp_path / name, format).is_file()


def test_what_cannot_be_exported_is_refused_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="baseline") as caught:
        model_of("logistic-regression", "images").export(tmp_path / "a.onnx")
    assert "fixmatch" in caught.value.remedy
    model = model_of("linear-probe", "regression")
    with pytest.raises(ConfigError, match="format='tf'"):
        model.export(tmp_path / "a.onnx", "tf")
    with pytest.raises(ConfigError, match=r"ends in \.onnx"):
        model.export(tmp_path / "a.pt2", "onnx")
    monkeypatch.setattr(
        "tacita.model.export.find_spec", lambda name: None if name == "onnxscript" else name
    )
    with pytest.raises(
        MissingExtraError, match=r"onnxscript is not installed[\s\S]*tacita\[export\]"
    ):
        model.export(tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_gives_another_output_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, out = model_of("linear-probe", "regression"), tmp_path / "a.pt2"
    out.write_text("old")
    run = tacita.model.export._run_torch
    monkeypatch.setattr(
        "tacita.model.export._run_torch", lambda path, inputs: 1.01 * run(path, inputs)
    )
    with pytest.raises(ExportError, match="differs from the model's"):
        model.export(out, "torch")
    monkeypatch.setattr(
        "tacita.model.export._run_torch", lambda path, inputs: run(path, inputs)[:0]
    )
    with pytest.raises(ExportError, match="shape"):
        model.export(out, "torch")
    monkeypatch.setattr("tacita.model.export._write_torch", lambda *_: 1 / 0)
    with pytest.raises(
        ExportError, match="cannot be exported as torch: ZeroDivisionError: division"
    ):
        model.export(out, "torch")
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]
