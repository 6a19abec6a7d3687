"""A model as one file that runs without tacita: raw samples in, probabilities or values out.

The file holds normaliser, encoder and head; of an ensemble of networks, those of all its members.
Inputs, batch dimension free:

- `x`: as the training data came, in floats of 32 or 64 bits as they were: images `(B, C, H, W)` and
  volumes `(B, C, D, H, W)` with 8-bit values scaled to 0..1 (divide by 255), series `(B, L, C)` at the
  training data's longest length and zeros beyond a shorter one, tables `(B, F)` with category codes, NaN
  where a cell is missing;
- `lengths`: int64 `(B,)`, only for series of unequal lengths.

The output is `probabilities` `(B, K)` in the order of `labels.json`, in an open set with the unknown's
as one more column, of segmentation `(B, K, D, H, W)` for volumes of the training data's size; `values`
`(B,)` for regression, or `features` `(B, dim)` for a pretrained encoder without a head.
"""

from __future__ import annotations

import re
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from tacita.data.batch import Batch
from tacita.errors import ConfigError, MissingExtraError, TacitaError
from tacita.files import replacing
from tacita.learner import NetworkLearner
from tacita.model.ensemble import Ensemble
from tacita.values import Ragged, as_tensor

if TYPE_CHECKING:
    from tacita.model.model import Model

SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}
TOLERANCE = 1e-4
"""How far the file's output may be from the model's: the same sums in another order."""

_COLOUR = re.compile("\x1b\\[[0-9;]*[A-Za-z]")

Inputs = tuple[Tensor, ...]


class ExportError(TacitaError, RuntimeError):
    """The exported file does not do what the model does; it was not kept."""


class Exported(nn.Module):
    """A network learner, or an ensemble of such, as one module over raw samples.

    Shapes: `x`, `lengths` and the output as in the module's docstring.
    """

    def __init__(self, learner: NetworkLearner | Ensemble) -> None:
        super().__init__()
        assert learner.data_.normaliser is not None
        self.normaliser = learner.data_.normaliser
        self.parts = nn.ModuleList(learner.modules().values())
        self.learner = learner

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        batch = Batch.of(self.normaliser(x if lengths is None else Ragged.of(x, lengths)))
        return self.learner.exported(batch)


def export(model: Model, out: Path, format: str = "onnx") -> Path:
    """Write a model to `out` and give its path; the file is run against the model before it is kept.

    format: "onnx" (runs in onnxruntime) or "torch" (a `torch.export` program, `.pt2`).

    Raises `ConfigError` for a baseline or another format or suffix, `MissingExtraError` where the
    onnx packages are not installed, `ExportError` where a part of the model cannot be exported or
    its file gives another output.
    """
    learner = model.learner
    if format not in SUFFIX:
        raise ConfigError(f"format={format!r} is unknown.", remedy="Take onnx or torch.")
    if out.suffix != SUFFIX[format]:
        raise ConfigError(
            f"--out {out}: a file of format {format} ends in {SUFFIX[format]}.",
            remedy="Name it so.",
        )
    if model.task.continues:
        raise ConfigError(
            f"{model.recipe.name} cannot be exported: a {model.task.name} needs a level and a season's past,"
            " which one file of raw samples does not have.",
            remedy="Use predict.",
        )
    if isinstance(learner, Ensemble):
        learner.networks("The ensemble cannot be exported")
    elif not isinstance(learner, NetworkLearner):
        raise ConfigError(
            f"{model.recipe.name} is no network, as a baseline is none, and cannot be exported.",
            remedy="Export a network: run fit with --recipe fixmatch, or another that has an encoder.",
        )
    if format == "onnx":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            if find_spec(package) is None:
                raise MissingExtraError(package, "export")
    network = Exported(learner).eval()
    data = learner.data_
    raw = [data.kind.example_inputs(network.normaliser, data.meta, size) for size in (3, 1)]
    samples = [(v.padded, v.lengths) if isinstance(v, Ragged) else (as_tensor(v),) for v in raw]
    write, run = (_write_onnx, _run_onnx) if format == "onnx" else (_write_torch, _run_torch)
    with replacing(out) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The exporters warn of their own insides.
        try:
            write(network, samples[0], temporary)
        except OSError:
            raise
        except Exception as error:
            # An encoder of any library can hold an operation that the format lacks.
            raise ExportError(
                f"{model.recipe.name} cannot be exported as {format}: {_first_line(error)}",
                remedy="Try the other format, or another encoder.",
            ) from error
        for inputs in samples:
            _compare(run(temporary, inputs), network, inputs, out)
    return out


def _compare(found: Tensor, network: Exported, inputs: Inputs, out: Path) -> None:
    with torch.no_grad():
        expected = network(*inputs)
    if found.shape != expected.shape:
        raise ExportError(
            f"{out}: gives an output of shape {tuple(found.shape)}, not {tuple(expected.shape)}."
        )
    far = (found - expected).abs() - TOLERANCE * (1 + expected.abs())
    if not (far <= 0).all():
        raise ExportError(
            f"{out}: its output differs from the model's by more than {TOLERANCE}.",
            remedy="Export in the other format.",
        )


def _first_line(error: Exception) -> str:
    """What an exporter says first of the reason: its last cause's words, without colours and headings."""
    while error.__cause__ is not None and isinstance(error.__cause__, Exception):
        error = error.__cause__
    lines = (_COLOUR.sub("", line).strip() for line in str(error).splitlines())
    first = next((line for line in lines if any(c.isalnum() for c in line)), "")
    return f"{type(error).__name__}: {first}" if first else type(error).__name__


def _batch(inputs: Inputs) -> tuple[dict[int, torch.export.Dim], ...]:
    size = torch.export.Dim("batch")
    return tuple({0: size} for _ in inputs)


def _write_onnx(network: Exported, inputs: Inputs, path: Path) -> None:
    torch.onnx.export(
        network,
        inputs,
        path,
        dynamo=True,
        dynamic_shapes=_batch(inputs),
        input_names=["x", "lengths"][: len(inputs)],
        output_names=[network.learner.output],
        external_data=False,
        verbose=False,
    )


def _run_onnx(path: Path, inputs: Inputs) -> Tensor:
    from onnxruntime import InferenceSession

    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    given = {name: value.numpy() for name, value in zip(("x", "lengths"), inputs, strict=False)}
    return torch.as_tensor(session.run(None, given)[0])


def _write_torch(network: Exported, inputs: Inputs, path: Path) -> None:
    program = torch.export.export(network, inputs, dynamic_shapes=_batch(inputs), strict=False)
    with path.open("wb") as file:
        torch.export.save(program, file)


def _run_torch(path: Path, inputs: Inputs) -> Tensor:
    with path.open("rb") as file, torch.no_grad():
        output: Tensor = torch.export.load(file).module()(*inputs)
    return output
