"""A published language model from a folder on this machine: any encoder of transformers, frozen or tuned.

Nothing is ever downloaded, and no code comes from the folder: it holds `config.json` and
`model.safetensors`, of a model that the installed transformers knows.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from tacita.catalog.cards import method
from tacita.data.batch import Batch, InputSpec
from tacita.encoder import Encoder, Encoding, hide_padding, masked_mean
from tacita.errors import CheckpointError, ConfigError, MissingExtraError
from tacita.parts.tokens import check_ids

CONFIG, WEIGHTS = "config.json", "model.safetensors"
LARGEST_CONFIG = 2**20
SPARE = 256
"""Vectors that no token has: models have some, to make their number round."""
BOUNDS = {
    "num_hidden_layers": 256,
    "hidden_size": 2**15,
    "vocab_size": 2**21,
    "intermediate_size": 2**17,
}
"""Larger numbers are of no published encoder: a damaged file would fill the memory."""


@method(
    "language-backbone",
    title="A language model of transformers",
    family="encoder",
    modalities=("text",),
    summary="Features of texts from a published language model in a local folder, frozen or tuned.",
    paper="https://arxiv.org/abs/1908.10084",
    year=2019,
)
class LanguageBackbone(Encoder):
    """The last hidden vectors of a model, and their mean over the valid tokens (Sentence-BERT).

    folder: holds `config.json` and `model.safetensors`; texts are read with its own tokeniser:
        `tokeniser=FOLDER` of `tacita.load`. It must still be there when a saved model is loaded. Without
        one, a small BERT begins from random weights.
    frozen: whether its weights stay as they are: then only a head learns, and dropout is off.

    Shapes: `x (B, L)` token numbers; `tokens (B, L, dim)`, zero where not valid.

    Raises `ConfigError` for a folder without a model, or one that brings code, and for texts that are
    longer than it reads or of another tokeniser; `CheckpointError` for weights that are not its own;
    `MissingExtraError` where transformers is not installed.
    """

    modalities = ("text",)
    tiny = {"frozen": False}

    def __init__(self, spec: InputSpec, *, folder: str = "", frozen: bool = True) -> None:
        super().__init__()
        self.require(spec)
        config = read_config(folder) if folder else small_config(spec)
        if not 0 <= config.vocab_size - spec.vocabulary < SPARE:
            raise ConfigError(
                f"{folder}: has {config.vocab_size} tokens, and the texts {spec.vocabulary}: they were read"
                " by another tokeniser.",
                remedy=f"Read them with tokeniser={folder!r}.",
            )
        most = getattr(config, "max_position_embeddings", None)
        if isinstance(most, int) and spec.shape[0] > most:
            raise ConfigError(
                f"{folder}: reads {most} tokens, and the texts have up to {spec.shape[0]}.",
                remedy="Take a model of longer texts.",
            )
        self.spec = spec
        self.frozen = frozen
        self.network = make_network(config)
        # Where only shapes are asked for, on torch's "meta" device, there is nothing to fill.
        if folder and not self._vectors().is_meta:
            load_weights(self.network, Path(folder) / WEIGHTS)
        self.dim = int(config.hidden_size)
        if frozen:
            self.network.requires_grad_(False)
        self.train()

    def train(self, mode: bool = True) -> Self:
        """What is frozen has no dropout either."""
        super().train(mode)
        if self.frozen:
            self.network.eval()
        return self

    def _vectors(self) -> Tensor:
        weight: Tensor = self.network.get_input_embeddings().weight
        return weight

    @property
    def table(self) -> Tensor:
        return self._vectors()[: self.spec.vocabulary]

    def forward(self, batch: Batch) -> Encoding:
        mask = batch.mask
        x = hide_padding(batch.x, mask)
        check_ids(x, self.spec.vocabulary)
        valid = torch.ones_like(x) if mask is None else mask.long()
        tokens = self.network(input_ids=x, attention_mask=valid).last_hidden_state
        return Encoding(hide_padding(tokens, mask), masked_mean(tokens, mask))


def small_config(spec: InputSpec) -> Any:
    """A BERT of two layers for the texts' own vocabulary."""
    try:
        from transformers import BertConfig
    except ImportError as error:
        raise MissingExtraError("transformers", "text") from error
    return BertConfig(
        vocab_size=spec.vocabulary,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=spec.shape[0],
    )


def read_config(folder: str) -> Any:
    """The configuration in a folder, as data only.

    Raises `ConfigError` where there is none that the installed transformers knows without further code.
    """
    path = Path(folder) / CONFIG
    if not path.is_file():
        raise ConfigError(
            f"folder={folder!r} has no {CONFIG}.",
            remedy="Give the folder of a transformers model: encoder.folder=PATH.",
        )
    try:
        from transformers import AutoConfig
    except ImportError as error:
        raise MissingExtraError("transformers", "text") from error
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise ValueError(f"larger than {LARGEST_CONFIG} bytes")
        told = json.loads(path.read_text(encoding="utf-8"))
        if "auto_map" in told:
            raise ValueError("it brings code of its own, which is not run")
        kind = told.pop("model_type")
        config = AutoConfig.for_model(kind, **told)
        for name, most in BOUNDS.items():
            if not 0 < getattr(config, name, 1) <= most:
                raise ValueError(f"{name} is not from 1 to {most}")
    except Exception as error:  # A damaged configuration can fail anywhere inside transformers.
        raise ConfigError(
            f"{path}: is no model that can be taken ({str(error)[:200]}).",
            remedy="Give a folder with the config.json of a model that transformers knows.",
        ) from error
    return config


def make_network(config: Any) -> Any:
    """The model of a configuration with random weights, without what it pools by."""
    from transformers import AutoModel

    build: Any = AutoModel.from_config
    try:
        network = build(config, dtype=torch.float32)
    except Exception as error:
        raise ConfigError(f"the language model cannot be built ({str(error)[:200]}).") from error
    if isinstance(getattr(network, "pooler", None), nn.Module):
        network.pooler = None
    return network


def load_weights(network: Any, path: Path) -> None:
    """Fill a model from a file; heads of other tasks in it are left aside.

    Raises `CheckpointError` for a file that is damaged, or lacks a weight of the model.
    """
    from safetensors import safe_open

    prefix = f"{network.base_model_prefix}."
    remedy = f"Give a folder with the {WEIGHTS} of its {CONFIG}; other formats could run code."
    wanted = network.state_dict()
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file.", remedy=remedy)
    try:
        with safe_open(path, framework="pt") as file:
            known = {name.removeprefix(prefix): name for name in file.keys()}  # noqa: SIM118
            absent = sorted(set(wanted) - set(known))
            if absent:
                raise ValueError(f"it lacks {absent[0]}")
            tensors = {name: file.get_tensor(known[name]).float() for name in wanted}
        wrong = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
        if wrong:
            raise ValueError(f"{wrong[0]} is not finite")
        network.load_state_dict(tensors)
    except Exception as error:  # Damage can show anywhere inside safetensors or torch.
        reason = str(error)[:200]
        raise CheckpointError(f"{path}: cannot be taken ({reason}).", remedy=remedy) from error
