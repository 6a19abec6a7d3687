"""What goes wrong a step: windows slip against their labels, long series are predicted otherwise than short
ones, padding leaks, a saved model forgets what its steps are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import tacita
from tacita.adapt.per_step import PerStep, windows_of
from tacita.data.dataset import Dataset
from tacita.encoders import build
from tacita.errors import ConfigError
from tacita.modalities.memory import as_dataset
from tests.helpers import assert_close

LEARNT = pytest.mark.filterwarnings("ignore::tacita.data.notes.LearntWarning")
SMALL = {"encoder": "sequence-model", "encoder.d_model": 8, "encoder.depth": 1, "quiet": True}


def switching(count: int = 6, seed: int = 0) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Series of 40 to 60 steps, on and off in turns of ten; the second channel says it, with noise."""
    rng = np.random.default_rng(seed)
    items, labels = [], []
    for _ in range(count):
        length = int(rng.integers(40, 60))
        on = (np.arange(length) + rng.integers(20)) // 10 % 2
        x = np.stack([rng.normal(size=length), on + 0.3 * rng.normal(size=length)], 1)
        items.append(x.astype(np.float32))
        labels.append(np.where(on, "on", "off"))
    return items, labels


def data_of(count: int = 6) -> Dataset:
    return as_dataset(*switching(count), task="sequence-labels")


def test_windows_hold_every_step_with_its_own_target() -> None:
    data = data_of()
    numbered = data.with_samples(data.samples.with_padded(  # type: ignore[union-attr]
        torch.arange(data.x.numel()).view_as(data.x).float() * (data.y >= 0)[:, :, None]))  # fmt: skip
    found = windows_of(numbered, 16)
    assert found.x.shape[1] == 16
    assert found.lengths is not None
    assert data.lengths is not None
    seen = {}
    for row in range(len(found)):
        for step in range(int(found.lengths[row])):
            seen[int(found.x[row, step, 0])] = int(found.y[row, step])
    expected = {
        int(numbered.x[i, t, 0]): int(data.y[i, t])
        for i, length in enumerate(data.lengths.tolist())
        for t in range(length)
    }
    assert seen == expected
    assert windows_of(data, 100) is data


@LEARNT
def test_it_learns_what_each_step_is_and_a_loaded_model_says_the_same(tmp_path: Path) -> None:
    items, labels = switching()
    model = tacita.adapt(
        "per-step", as_dataset(items, labels, task="sequence-labels"), steps=12, window=24,
        learning_rate=0.03, encoder="residual-conv", out=tmp_path / "m", quiet=True,
        **{"encoder.width": 8, "encoder.depth": 1, "encoder.stride": 1},
    )  # fmt: skip
    assert model.metrics.out_of_fold is not None
    assert model.metrics.out_of_fold["accuracy"] > 0.8
    predicted = model.predict(items)
    assert [len(each) for each in predicted] == [len(each) for each in items]
    right = [np.mean(a == b) for a, b in zip(predicted, labels, strict=True)]
    assert np.mean(right) > 0.8
    loaded = tacita.Model.load(tmp_path / "m")
    for one, other in zip(loaded.predict(items), predicted, strict=True):
        assert np.array_equal(one, other)
    assert loaded.evaluate(items, labels) == model.evaluate(items, labels)
    assert "macro F1" in (tmp_path / "m" / "report.html").read_text()


def test_a_series_is_predicted_whole_and_apart_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of().normalised()
    encoder = build("sequence-model", data.spec, d_model=8, depth=1)
    learner = PerStep(encoder, window=16, engine={"steps": 2}).fit(data)
    whole = learner.logits(data)
    assert whole.shape == (6, 2, data.x.shape[1])
    monkeypatch.setattr("tacita.adapt.per_step.AT_ONCE", 1)
    alone = learner.logits(data)
    assert data.lengths is not None
    for row, length in enumerate(data.lengths.tolist()):
        assert_close(alone[row, :, :length], whole[row, :, :length])


@pytest.mark.parametrize(
    ("slug", "options"),
    [
        ("sequence-model", {}),
        ("residual-conv", {"stride": 1}),
        ("residual-conv", {"stride": 4}),
        ("series-transformer", {"patch": 3}),
        ("snn-delays", {}),
        ("snn-delays", {"code": "rate", "window": 3}),
    ],
)
def test_encoders_give_every_step_features_and_padding_none(slug: str, options: dict) -> None:
    data = data_of().normalised()
    from tacita.catalog.discover import load_class

    torch.manual_seed(0)
    encoder = build(slug, data.spec, **{**load_class(slug).tiny, **options}).eval()
    batch = data.take(torch.arange(6))
    with torch.no_grad():
        found = encoder.per_step(batch)
        assert found.shape == (6, data.x.shape[1], encoder.dim)
        assert batch.mask is not None
        assert not found[~batch.mask].any()
        length = int(batch.lengths[0])  # type: ignore[index]
        alone = encoder.per_step(type(batch).of(batch.x[:1, :length]))
    assert_close(alone[0], found[0, :length])


def test_an_encoder_that_pools_its_steps_is_refused_with_those_that_do_not() -> None:
    data = as_dataset(np.zeros((4, 32, 6), np.float32), np.arange(128).reshape(4, 32) % 2,
                      task="sequence-labels")  # fmt: skip
    with pytest.raises(ConfigError, match="residual-conv, sequence-model"):
        tacita.adapt("per-step", data, encoder="e4mer", steps=1, quiet=True)
    with pytest.raises(ConfigError, match="supervised does not do sequence-labels"):
        tacita.adapt("supervised", data, quiet=True)


@LEARNT
def test_a_pretrained_encoder_is_gone_on_from(tmp_path: Path) -> None:
    data = data_of()
    first = tacita.pretrain(
        "self-pretraining", data, steps=2, batch_size=4, out=tmp_path / "a", **SMALL
    )
    model = tacita.adapt("per-step", data, start=tmp_path / "a", steps=2, quiet=True)
    assert model.recipe.pretrain == first.recipe.pretrain
    assert model.predict(data)[0][0] in ("on", "off")


@LEARNT
def test_files_go_in_and_a_line_a_step_comes_out(tmp_path: Path) -> None:
    items, labels = switching(4)
    rows = ["who,t,a,b,state"]
    for name, x, y in zip("pqrs", items, labels, strict=True):
        rows += [f"{name},{t * 0.1:.1f},{x[t, 0]},{x[t, 1]},{y[t]}" for t in range(len(x))]
    (tmp_path / "s.csv").write_text("\n".join(rows) + "\n")
    reading = {"series_id": "who", "time": "t", "labels": "state", "task": "sequence-labels"}
    model = tacita.fit(
        tmp_path / "s.csv", recipe=["step-logistic-regression", "step-gradient-boosting"],
        out=tmp_path / "m", quiet=True, **reading,
    )  # fmt: skip
    assert model.metrics.majority is not None
    assert model.metrics.leaderboard[0].mean > model.metrics.majority["macro_f1"]
    total = sum(map(len, items))
    loaded = tacita.Model.load(tmp_path / "m")
    assert loaded.predict_file(tmp_path / "s.csv", tmp_path / "p.csv", proba=True) == total
    header, first, second = (tmp_path / "p.csv").read_text().splitlines()[:3]
    assert header == "id,step,time,predicted,off,on"
    assert first.startswith("p,0,0,")
    assert second.startswith("p,1,0.1,")
    assert loaded.evaluate_file(tmp_path / "s.csv") == model.evaluate_file(tmp_path / "s.csv")
    model.predict_file(tmp_path / "s.csv", tmp_path / "p.jsonl", proba=True, as_json=True)
    line = (tmp_path / "p.jsonl").read_text().splitlines()[0]
    assert line.startswith('{"id": "p", "step": 0, "time": "0", "predicted": ')
    assert '"probabilities": {"off": ' in line


@LEARNT
@pytest.mark.parametrize("method", ["step-ridge", "step-random-forest", "step-gradient-boosting"])
def test_several_numbers_a_step_are_learnt_and_saved(method: str, tmp_path: Path) -> None:
    items, _ = switching(3)
    targets = [np.stack([x[:, 1] * 3 + 10, np.roll(x[:, 1], 1)], 1) for x in items]
    data = as_dataset(items, targets, task="sequence-regression")
    model = tacita.adapt(method, data, out=tmp_path / "m", quiet=True)
    assert model.metrics.out_of_fold is not None
    assert model.metrics.out_of_fold["r2"] > 0.3
    found = tacita.Model.load(tmp_path / "m").predict(items)
    assert [each.shape for each in found] == [(len(x), 2) for x in items]
    for one, other in zip(found, model.predict(items), strict=True):
        assert np.array_equal(one, other)
