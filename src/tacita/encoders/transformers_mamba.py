"""Mamba language models of `transformers`, read and written: the same weights under other names.

A folder holds `config.json` and `model.safetensors`; nothing in either is code. All that a file says
of sizes is compared with what its tensors are before any memory is taken for them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from tacita.data.batch import InputSpec
from tacita.encoders.sequence_model import SequenceModel
from tacita.errors import CheckpointError, ConfigError
from tacita.files import replacing, write_text
from tacita.layers.mamba import Mamba
from tacita.layers.stack import Block
from tacita.parts.tokens import padded

LARGEST_CONFIG = 1_000_000
"""Bytes of `config.json` at most."""
LONGEST = 2048
"""The length of text that the public models were trained on."""
LARGEST = {
    "vocab_size": 2**24,
    "hidden_size": 2**16,
    "num_hidden_layers": 256,
    "state_size": 2**10,
    "conv_kernel": 2**8,
    "expand": 2**6,
    "time_step_rank": 2**14,
}
"""Sizes that a configuration gives, and what none of them is larger than."""
FIXED = {
    "model_type": "mamba",
    "hidden_act": "silu",
    "layer_norm_epsilon": 1e-5,
    "tie_word_embeddings": True,
}
"""What must be so, and is where nothing is said."""
SAFE = "Save it with save_pretrained, which writes config.json and model.safetensors."
Config = Mapping[str, Any]
ModelT = TypeVar("ModelT", bound=SequenceModel)


def load(
    kind: type[ModelT],
    source: str | Path | nn.Module | Mapping[str, Tensor],
    config: Config | None = None,
) -> ModelT:
    """A model of tokens of this kind: of a `MambaForCausalLM`, its state dict and `config`, or a folder.

    Weights are copied, to float32 unless they are float64. Raises `CheckpointError` for a folder that
    cannot be read, and tensors that do not fit, and `ConfigError` for models of another kind.
    """
    if isinstance(source, nn.Module):
        config = source.config.to_dict()  # type: ignore[union-attr, operator]
        return _build(kind, config, source.state_dict(), "the model")
    if isinstance(source, Mapping):
        if config is None:
            raise ConfigError("a state dict without its config does not say what it is of.")
        return _build(kind, config, source, "the state dict")
    folder = Path(source)
    weights = folder / "model.safetensors"
    config = _read_config(folder / "config.json")
    if not weights.is_file():
        raise CheckpointError(f"{folder}: has no model.safetensors.", remedy=SAFE)
    try:
        with safe_open(weights, framework="pt") as file:
            return _build(kind, config, _Lazy(file), str(weights))
    except (ConfigError, CheckpointError):
        raise
    except Exception as error:  # a damaged header can fail anywhere inside safetensors or torch
        raise CheckpointError(
            f"{weights}: not a readable file of tensors ({error}).", remedy=SAFE
        ) from error


def save(model: SequenceModel, folder: str | Path) -> None:
    """Write `config.json` and `model.safetensors`, which `MambaForCausalLM.from_pretrained` reads.

    Raises `ConfigError` for a model that is not Mamba's, and `WriteError` when the disk is full.
    """
    config, tensors = export(model)
    with replacing(Path(folder) / "model.safetensors") as temporary:
        save_file(tensors, temporary, {"format": "pt"})
    write_text(Path(folder) / "config.json", json.dumps(config, indent=2) + "\n")


def export(model: SequenceModel) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The configuration and the tensors of the `MambaForCausalLM` that a model is.

    Raises `ConfigError` where there is no such model. Token numbers with a meaning of their own, such
    as that of a text's end, are a tokeniser's and are not written.
    """
    layer = _one_of(model)
    vocabulary = model.spec.vocabulary
    config = {
        **FIXED,
        "architectures": ["MambaForCausalLM"],
        "vocab_size": vocabulary,
        "hidden_size": model.dim,
        "num_hidden_layers": len(model.stack.blocks),
        "state_size": layer.d_state,
        "conv_kernel": layer.d_conv,
        "expand": len(layer.D) // model.dim,
        "time_step_rank": layer.rank,
        "use_bias": layer.in_proj.bias is not None,
        "use_conv_bias": layer.conv1d.bias is not None,
        "pad_token_id": None,
        "bos_token_id": None,
        "eos_token_id": None,
    }
    tensors = {
        _their_name(name): value.detach().cpu().clone().contiguous()
        for name, value in model.state_dict().items()
    }
    table = "backbone.embeddings.weight"
    tensors[table] = tensors[table][:vocabulary].clone()
    return config, tensors


class _Lazy(Mapping[str, Any]):
    """The tensors of an open file by name, each read when it is asked for."""

    def __init__(self, file: Any) -> None:
        self.file, self.names = file, list(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        return self.file.get_tensor(name)

    def __iter__(self) -> Any:
        return iter(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.names

    def __len__(self) -> int:
        return len(self.names)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.file.get_slice(name).get_shape())


def _build(kind: type[ModelT], config: Config, tensors: Mapping[str, Tensor], where: str) -> ModelT:
    sizes = _check_config(config)
    vocabulary = sizes["vocab_size"]
    with torch.device("meta"):  # names and shapes, without memory
        model = kind(
            InputSpec("text", (LONGEST,), vocabulary=vocabulary),
            layer="mamba",
            d_model=sizes["hidden_size"],
            depth=sizes["num_hidden_layers"],
            layer_options={
                "d_state": sizes["state_size"],
                "d_conv": sizes["conv_kernel"],
                "expand": sizes["expand"],
                "dt_rank": sizes["time_step_rank"],
                "bias": bool(config.get("use_bias", False)),
                "conv_bias": bool(config.get("use_conv_bias", True)),
            },
            norm="rms",
            pooling="last",
        )
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    expected["enter.weight"] = (vocabulary, sizes["hidden_size"])
    ours = {_their_name(name): name for name in expected}
    shape_of = tensors.shape if isinstance(tensors, _Lazy) else lambda n: tuple(tensors[n].shape)
    _check_shapes(
        {theirs: expected[name] for theirs, name in ours.items()}, tensors, shape_of, where
    )
    table = _floats(tensors, "backbone.embeddings.weight", None, where)
    if "lm_head.weight" in tensors and not torch.equal(
        _floats(tensors, "lm_head.weight", table.dtype, where), table
    ):
        raise ConfigError(f"{where}: the head is not tied to the table of token vectors.")
    found = {
        name: _floats(tensors, theirs, table.dtype, where)
        for theirs, name in ours.items()
        if name != "enter.weight"
    }
    beyond = table.new_zeros(padded(vocabulary) - vocabulary, table.shape[1])
    model.load_state_dict({"enter.weight": torch.cat([table, beyond]), **found}, assign=True)
    return model


def _check_config(config: Config) -> dict[str, int]:
    """The sizes, once all that this code relies on is so."""
    for name, value in FIXED.items():
        if config.get(name, value) != value:
            raise ConfigError(
                f"the config has {name}={config[name]!r}; only {value!r} can be read.",
                remedy="Models of type mamba as published can; others are other layers.",
            )
    given = dict(config)
    for name, value in {"state_size": 16, "conv_kernel": 4, "expand": 2}.items():
        given.setdefault(name, value)
    width = given.get("hidden_size")
    if given.get("time_step_rank", "auto") == "auto" and isinstance(width, int):
        given["time_step_rank"] = max(1, -(-width // 16))
    for name, most in LARGEST.items():
        value = given.get(name)
        if type(value) is not int or not 1 <= value <= most:
            raise ConfigError(
                f"the config has {name}={value!r:.80}, which is no whole number from 1 to {most}."
            )
    return {name: given[name] for name in LARGEST}


def _check_shapes(
    expected: Mapping[str, tuple[int, ...]],
    tensors: Mapping[str, Tensor],
    shape_of: Callable[[str], tuple[int, ...]],
    where: str,
) -> None:
    known = {*expected, "lm_head.weight"}
    missing, extra = sorted(expected.keys() - tensors.keys()), sorted(set(tensors) - known)
    if missing or extra:
        what = f"lacks {missing[:3]}" if missing else f"has unknown {extra[:3]}"
        raise CheckpointError(f"{where}: {what}.", remedy="It must be a whole MambaForCausalLM.")
    wanted = {**expected, "lm_head.weight": expected["backbone.embeddings.weight"]}
    for name in tensors:
        if shape_of(name) != wanted[name]:
            raise CheckpointError(
                f"{where}: {name} is {shape_of(name)}, but the config says {wanted[name]}."
            )


def _floats(
    tensors: Mapping[str, Tensor], name: str, dtype: torch.dtype | None, where: str
) -> Tensor:
    """A copy in float32, or in float64 where it is that; `dtype` overrules."""
    tensor = tensors[name].detach()
    if not tensor.is_floating_point() or not tensor.isfinite().all():
        raise CheckpointError(f"{where}: {name} is not of finite floating-point numbers.")
    wide = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    return tensor.to("cpu", dtype or wide, copy=True)


def _read_config(path: Path) -> Config:
    if not path.is_file():
        raise CheckpointError(f"{path.parent}: has no config.json.", remedy=SAFE)
    if path.stat().st_size > LARGEST_CONFIG:
        raise CheckpointError(f"{path}: is larger than {LARGEST_CONFIG} bytes.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: is not JSON ({error}).") from error
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: is not an object of JSON.")
    return config


def _their_name(name: str) -> str:
    """What a tensor of ours is called in `MambaForCausalLM`.

    >>> _their_name("stack.blocks.3.layer.A_log")
    'backbone.layers.3.mixer.A_log'
    """
    if name == "enter.weight":
        return "backbone.embeddings.weight"
    if name == "norm.weight":
        return "backbone.norm_f.weight"
    return name.replace("stack.blocks.", "backbone.layers.").replace(".layer.", ".mixer.")


def _one_of(model: SequenceModel) -> Mamba:
    """The first layer of a model all of whose blocks are as in `MambaForCausalLM`."""
    blocks = [block for block in model.stack.blocks if isinstance(block, Block)]
    first = blocks[0].layer
    for block in blocks:
        layer = block.layer
        plain = block.prenorm and block.gate is None and block.mlp is None
        if not (
            isinstance(layer, Mamba)
            and layer.selective
            and not isinstance(layer.dt_norm, nn.RMSNorm)
            and plain
            and isinstance(block.norm, nn.RMSNorm)
            and bool(model.spec.vocabulary)
        ):
            raise ConfigError(
                "only a model of text with layer='mamba' and norm='rms' can be written for "
                "transformers, without inner_norm and with selection."
            )
    assert isinstance(first, Mamba)
    return first
