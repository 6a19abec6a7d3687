"""A language model from a folder: transformers' own features, frozen or tuned, and nothing that runs code."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import tacita
from tacita.data.batch import InputSpec
from tacita.data.dataset import Dataset
from tacita.data.modality import find
from tacita.encoders import build
from tacita.errors import CheckpointError, ConfigError
from tacita.modalities.memory import as_dataset
from tacita.model.model import Model
from tests.helpers import assert_close
from tests.language import sentence_folder


def data() -> Dataset:
    """The example's texts, read by the folder's own tokeniser."""
    example = find("text").example()
    texts = [str(example.kind.show(example, i)) for i in range(0, len(example), 3)]
    labels = example.task.decode(example.y[::3])
    return as_dataset(texts, labels, tokeniser=str(sentence_folder())).normalised()


def test_features_are_those_of_transformers_and_their_mean() -> None:
    from transformers import BertModel

    theirs = BertModel.from_pretrained(sentence_folder(), add_pooling_layer=False).eval()
    read = data()
    batch = read.take(torch.arange(6))
    assert batch.mask is not None
    found = build("language-backbone", read.spec, folder=str(sentence_folder())).eval()(batch)
    with torch.no_grad():
        hidden = theirs(input_ids=batch.x, attention_mask=batch.mask.long()).last_hidden_state
    assert_close(found.tokens, hidden * batch.mask[:, :, None])
    weight = batch.mask[:, :, None].float()
    assert_close(found.pooled, (hidden * weight).sum(1) / weight.sum(1))


def test_a_frozen_model_neither_learns_nor_drops() -> None:
    read = data()
    frozen = build("language-backbone", read.spec, folder=str(sentence_folder())).train()
    batch = read.take(torch.arange(4))
    assert not any(p.requires_grad for p in frozen.parameters())
    assert torch.equal(frozen(batch).pooled, frozen(batch).pooled)
    tuned = build("language-backbone", read.spec, folder=str(sentence_folder()), frozen=False)
    tuned.train()
    assert not torch.equal(tuned(batch).pooled, tuned(batch).pooled)
    tuned(batch).pooled.square().sum().backward()
    assert all(p.grad is not None for p in tuned.parameters())


def test_a_probe_on_it_is_saved_and_loaded(tmp_path: Path) -> None:
    read = data()
    model = tacita.adapt(
        "linear-probe",
        read,
        encoder="language-backbone",
        out=tmp_path / "run",
        quiet=True,
        **{"encoder.folder": str(sentence_folder())},
    )
    again = Model.load(tmp_path / "run")
    texts = ["computes the norm of a matrix", "a layer"]
    assert torch.equal(
        torch.from_numpy(again.predict_proba(texts)), torch.from_numpy(model.predict_proba(texts))
    )


@pytest.mark.parametrize("method", ["masked-language-modelling", "simcse"])
def test_it_can_be_trained_on(method: str) -> None:
    options = {"encoder.folder": str(sentence_folder()), "encoder.frozen": False}
    model = tacita.pretrain(
        method, data(), encoder="language-backbone", steps=2, quiet=True, **options
    )
    assert model.embed(["a text"]).shape == (1, 16)


def copied(folder: Path) -> Path:
    target = folder / "model"
    shutil.copytree(sentence_folder(), target)
    return target


def refused(folder: Path, error: type[Exception], said: str, spec: InputSpec | None = None) -> None:
    with pytest.raises(error, match=said):
        build("language-backbone", spec or data().spec, folder=str(folder))


def test_weights_in_a_format_that_could_run_code_are_not_looked_at(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    refused(folder, CheckpointError, "no such file")


def test_damage_is_told(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    weights = load_file(folder / "model.safetensors")
    name = next(iter(weights))
    save_file({k: v for k, v in weights.items() if k != name}, folder / "model.safetensors")
    refused(folder, CheckpointError, "lacks")
    save_file(
        {**weights, name: torch.full_like(weights[name], torch.nan)}, folder / "model.safetensors"
    )
    refused(folder, CheckpointError, "not finite")
    save_file({**weights, name: weights[name][:1]}, folder / "model.safetensors")
    refused(folder, CheckpointError, "cannot be taken")
    (folder / "model.safetensors").write_bytes(b"\x80\x04rubbish")
    refused(folder, CheckpointError, "cannot be taken")
    # What a checkpoint of another task has besides is left aside.
    prefixed = {f"bert.{k}": v for k, v in weights.items()}
    save_file({**prefixed, "cls.bias": torch.zeros(3)}, folder / "model.safetensors")
    build("language-backbone", data().spec, folder=str(folder))


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoModel": "evil.Model"}}, {"model_type": "no-such"}, {"model_type": None},
        {"num_hidden_layers": 10**9}, {"hidden_size": 10**9}, {"vocab_size": -1},
    ],
    ids=str,
)  # fmt: skip
def test_configurations_with_code_or_absurd_sizes_are_refused(
    tmp_path: Path, change: dict[str, object]
) -> None:
    folder = copied(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    refused(folder, ConfigError, "no model that can be taken")


def test_texts_of_another_tokeniser_or_too_long_are_refused() -> None:
    refused(
        sentence_folder(), ConfigError, "by another tokeniser",
        InputSpec("text", (256,), vocabulary=30),
    )  # fmt: skip
    refused(
        sentence_folder(),
        ConfigError,
        "reads 256 tokens",
        InputSpec("text", (1024,), vocabulary=data().spec.vocabulary),
    )
    with pytest.raises(ConfigError, match=r"has no config\.json"):
        build("language-backbone", data().spec, folder="no/such/folder")
