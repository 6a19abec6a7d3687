"""Language models of Mamba layers: the same numbers as in transformers, both ways, and safe to load."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import MambaConfig, MambaForCausalLM

from tacita.data.batch import InputSpec
from tacita.encoders import build
from tacita.encoders.language_model import LanguageModel
from tacita.errors import CheckpointError, ConfigError, DataError
from tacita.layers.mamba import Mamba
from tacita.values import Ragged, length_mask
from tests.helpers import assert_close

VOCABULARY = 29
"""No multiple of 8."""


def peer(**options: object) -> MambaForCausalLM:
    torch.manual_seed(0)
    sizes = {
        "vocab_size": VOCABULARY,
        "hidden_size": 24,
        "num_hidden_layers": 3,
        "state_size": 5,
        "use_cache": False,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    return MambaForCausalLM(MambaConfig(**{**sizes, **options})).eval()


def texts(batch: int = 2, length: int = 17) -> Tensor:
    return torch.randint(VOCABULARY, (batch, length), generator=torch.Generator().manual_seed(1))


def small(**options: object) -> LanguageModel:
    torch.manual_seed(0)
    spec = InputSpec("text", (32,), vocabulary=VOCABULARY)
    arguments = {"layer": "mamba", "d_model": 16, "depth": 2, "norm": "rms"}
    return LanguageModel(spec, **{**arguments, **options}).eval()  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    peer().save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"use_bias": True, "use_conv_bias": False, "expand": 3}])
@pytest.mark.parametrize("form", ["model", "state dict", "folder"])
def test_logits_are_those_of_transformers_in_parallel_and_in_steps(
    form: str, options: dict[str, object], tmp_path: Path
) -> None:
    theirs, ids = peer(**options), texts()
    if form == "model":
        ours = LanguageModel.from_transformers(theirs)
    elif form == "state dict":
        ours = LanguageModel.from_transformers(theirs.state_dict(), theirs.config.to_dict())
    else:
        theirs.save_pretrained(tmp_path)
        ours = LanguageModel.from_transformers(tmp_path)
    with torch.no_grad():
        expected = theirs(ids).logits
        assert expected.std() > 0.1  # not a model that says nothing
        torch.testing.assert_close(ours.logits(ids), expected, rtol=1e-4, atol=1e-4)
        state, stepped = ours.initial_state(2), []
        for t in range(ids.shape[1]):
            token, state = ours.step(ids[:, t], state)
            stepped.append(ours.head(token))
    torch.testing.assert_close(torch.stack(stepped, 1), expected, rtol=1e-4, atol=1e-4)


def test_a_model_in_float64_stays_so_and_halves_become_float32() -> None:
    theirs, ids = peer().double(), texts()
    ours = LanguageModel.from_transformers(theirs)
    assert ours.logits(ids).dtype == torch.float64
    halved = LanguageModel.from_transformers(peer().bfloat16())
    assert {p.dtype for p in halved.parameters()} == {torch.float32}


def test_weights_are_copies() -> None:
    theirs = peer()
    ours = LanguageModel.from_transformers(theirs)
    before = ours.logits(texts())
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.zero_()
    assert torch.equal(ours.logits(texts()), before)
    assert all(p.requires_grad for p in ours.parameters())


def test_what_is_written_is_what_was_read(folder: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    LanguageModel.from_transformers(folder).to_transformers(again)
    first, second = load_file(folder / "model.safetensors"), load_file(again / "model.safetensors")
    assert set(first) == set(second)
    assert all(torch.equal(first[name], second[name]) for name in first)
    theirs, ids = MambaForCausalLM.from_pretrained(again).eval(), texts()
    with torch.no_grad():
        assert torch.equal(theirs(ids).logits, peer()(ids).logits)


def test_a_model_made_here_is_read_by_transformers(tmp_path: Path) -> None:
    ours, ids = small(layer_options={"d_state": 3, "dt_rank": 2, "bias": True}), texts()
    ours.to_transformers(tmp_path)
    theirs = MambaForCausalLM.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        torch.testing.assert_close(ours.logits(ids), theirs(ids).logits, rtol=1e-4, atol=1e-5)


def test_greedy_generation_is_that_of_transformers() -> None:
    theirs = peer(use_cache=True, initializer_range=1.0)
    ours = LanguageModel.from_transformers(theirs)
    ids = texts(3, 6)
    expected = theirs.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=20, do_sample=False
    )[:, 6:]
    assert len(expected.unique()) > 3
    assert torch.equal(ours.generate(ids, 20, temperature=0.0), expected)


def test_texts_of_unequal_length_go_on_as_they_do_alone() -> None:
    model, ids = LanguageModel.from_transformers(peer(initializer_range=1.0)), texts(3, 9)
    lengths = torch.tensor([9, 2, 5])
    together = model.generate(ids, 6, lengths=lengths, temperature=0.0)
    for row, length in enumerate(lengths.tolist()):
        alone = model.generate(ids[row : row + 1, :length], 6, temperature=0.0)
        assert torch.equal(together[row], alone[0])


def test_drawn_tokens_have_the_chances_that_the_logits_say_and_a_seed_fixes_them() -> None:
    model, ids = small(), texts(1, 4)
    with torch.no_grad():
        chances = (model.logits(ids)[0, -1] / 0.5).softmax(-1)
    many = model.generate(ids.expand(4000, -1), 1, temperature=0.5, seed=3)[:, 0]
    found = torch.bincount(many, minlength=VOCABULARY) / 4000
    assert len(found) == VOCABULARY
    spread = (chances * (1 - chances) / 4000).sqrt()
    assert ((found - chances).abs() < 5 * spread + 1e-3).all()
    first = model.generate(ids, 30, seed=3)
    assert torch.equal(first, model.generate(ids, 30, seed=3))
    assert not torch.equal(first, model.generate(ids, 30, seed=4))


def test_numbers_beyond_the_vocabulary_are_neither_predicted_nor_taken() -> None:
    model = small()
    assert model.logits(texts()).shape == (2, 17, VOCABULARY)
    with torch.no_grad():  # rows that are there for the matrix units only
        model.enter.weight[VOCABULARY:] = 1e3
    drawn = model.generate(texts(50), 5, temperature=5.0)
    assert drawn.max() < VOCABULARY
    for wrong in (VOCABULARY, -1):
        with pytest.raises(DataError, match="token numbers run"):
            model.logits(torch.tensor([[0, wrong]]))
    with pytest.raises(DataError, match="whole numbers"):
        model.logits(torch.zeros(1, 2))


def test_padding_changes_no_logits() -> None:
    model, ids = small(), texts()
    lengths = torch.tensor([17, 6])
    other = ids.masked_fill(~length_mask(lengths, 17), -100)
    logits = model.logits(Ragged.of(other, lengths))
    assert_close(logits[1, :6], model.logits(ids)[1, :6])
    assert (logits[1, 6:] == 0).all()


def test_what_is_no_language_model_says_so(tmp_path: Path) -> None:
    ids = texts()
    with pytest.raises(ConfigError, match="sees the token"):
        small(layer="attention", layer_options={"causal": False})
    with pytest.raises(ConfigError, match="reads text, not series"):
        LanguageModel(InputSpec("series", (9, 3)))
    for options in ({"norm": "layer"}, {"layer": "s4d"}, {"layer_options": {"inner_norm": True}}):
        with pytest.raises(ConfigError, match="written for"):
            small(**options).to_transformers(tmp_path)
    for match, arguments, options in [
        ("temperature", (ids, 3), {"temperature": -1.0}),
        ("count", (ids, 0), {}),
        ("must be", (ids[0], 3), {}),
    ]:
        with pytest.raises(ConfigError, match=match):
            small().generate(*arguments, **options)
    with pytest.raises(DataError, match="without any token"):
        small().generate(ids, 1, lengths=torch.tensor([0, 3]))


def test_a_language_model_is_an_encoder_by_name_as_transformers_has_it() -> None:
    spec = InputSpec("text", (32,), vocabulary=VOCABULARY)
    torch.manual_seed(0)
    model = build("language-model", spec, d_model=16, depth=2)
    assert isinstance(model, LanguageModel)
    assert torch.equal(model.logits(texts()), small().logits(texts()))
    assert not hasattr(build("sequence-model", spec, d_model=16, depth=1), "logits")
    encoding = model(texts())
    assert torch.equal(encoding.pooled, encoding.tokens[:, -1])


def test_a_deep_model_starts_with_smaller_outputs() -> None:
    layer = small(depth=4).stack.blocks[0].layer
    assert isinstance(layer, Mamba)
    bound = 1 / 32**0.5 / 4**0.5  # torch's uniform bound, over the root of the depth
    assert 0.9 * bound < layer.out_proj.weight.abs().max() <= bound


def change(folder: Path, **entries: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ({"model_type": "llama"}, "model_type"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"layer_norm_epsilon": 1e-3}, "layer_norm_epsilon"),
        ({"tie_word_embeddings": False}, "tie_word_embeddings"),
        ({"hidden_size": 10**12}, "hidden_size"),
        ({"hidden_size": "24"}, "hidden_size"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers"),
        ({"vocab_size": -1}, "vocab_size"),
        ({"state_size": True}, "state_size"),
        ({"time_step_rank": 1e300}, "time_step_rank"),
    ],
)
def test_a_config_of_another_model_or_of_absurd_sizes_is_refused(
    folder: Path, entries: dict[str, object], match: str
) -> None:
    change(folder, **entries)
    with pytest.raises(ConfigError, match=match):
        LanguageModel.from_transformers(folder)


@pytest.mark.parametrize(
    "entries",
    [
        {"hidden_size": 2**16, "num_hidden_layers": 256, "vocab_size": 2**24},
        {"num_hidden_layers": 2},
        {"state_size": 6},
        {"use_bias": True},
    ],
)
def test_sizes_that_the_tensors_do_not_have_are_refused_before_memory_is_taken(
    folder: Path, entries: dict[str, object]
) -> None:
    change(folder, **entries)
    with pytest.raises(CheckpointError, match=r"lacks|unknown|the config says"):
        LanguageModel.from_transformers(folder)


def test_tensors_that_do_not_fit_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    whole = load_file(weights)
    name = "backbone.layers.1.mixer.A_log"
    for change_, match in [
        ({name: None}, "lacks"),
        ({"backbone.extra": torch.zeros(2)}, "unknown"),
        ({name: torch.zeros(5, 48)}, "the config says"),
        ({name: torch.full_like(whole[name], float("nan"))}, "finite"),
        ({name: torch.zeros(48, 5, dtype=torch.int64)}, "floating-point"),
        ({"lm_head.weight": torch.zeros(3, 3)}, "the config says"),
    ]:
        tensors = {key: t for key, t in {**whole, **change_}.items() if t is not None}
        save_file(tensors, weights)
        with pytest.raises(CheckpointError, match=match):
            LanguageModel.from_transformers(folder)
    save_file({**whole, "lm_head.weight": torch.zeros(VOCABULARY, 24)}, weights)
    with pytest.raises(ConfigError, match="not tied"):
        LanguageModel.from_transformers(folder)


class Bomb:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("exploded"),))


def test_no_file_is_ever_unpickled(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    weights = folder / "model.safetensors"
    for bad in (pickle.dumps(Bomb()), b"", b"\xff" * 64, weights.read_bytes()[:-7]):
        weights.write_bytes(bad)
        with pytest.raises(CheckpointError, match="not a readable file"):
            LanguageModel.from_transformers(folder)
    weights.rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"no model\.safetensors"):
        LanguageModel.from_transformers(folder)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[1]", "\x00", '"mamba"'])
def test_a_config_that_is_no_object_of_json_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"JSON"):
        LanguageModel.from_transformers(folder)


def test_folders_without_a_config_or_with_a_huge_one_are_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{" + " " * 2_000_000 + "}")
    with pytest.raises(CheckpointError, match="larger than"):
        LanguageModel.from_transformers(folder)
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        LanguageModel.from_transformers(folder / "nowhere")
    with pytest.raises(ConfigError, match="without its config"):
        LanguageModel.from_transformers({"a": torch.zeros(1)})
