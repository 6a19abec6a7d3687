"""The contract of an application: for what does not decompose into a modality, a task and a method.

It has its own sources (an environment that answers, a target and a pool) and its own training; all else
is the house's: typed options in the constructor, networks by name, files that never run code.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from torch import Tensor, nn

from tacita.engine.checkpoint import check_tensors, digest_of, read_tensors, under, write_tensors
from tacita.errors import CheckpointError, TacitaError

FORMAT = "1"


class App(ABC):
    """`fit` on sources, `predict`, and say in `figures` what came of it; `modules` are what is saved."""

    @abstractmethod
    def fit(self, *args: Any, **sources: Any) -> Self:
        """Learn from sources that are named, from the beginning."""

    @abstractmethod
    def predict(self, *args: Any, **sources: Any) -> Any:
        """What it was made for, on further sources."""

    @abstractmethod
    def figures(self) -> dict[str, float]:
        """What is known of the last `fit`, by name. Raises `ConfigError` before it."""

    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """The networks by name: all that `predict` needs beside the options. None before `fit`."""

    @abstractmethod
    def rebuild(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Make the `modules` whose tensors have these shapes, `name/key`, to be filled from a file.

        Raises `ConfigError` where they are none of these options'.
        """

    def save(self, path: Path) -> None:
        """Write the modules as safetensors, whole or not at all."""
        tensors = self._tensors()
        metadata = {"format": FORMAT, "app": type(self).__name__}
        write_tensors(path, tensors, {**metadata, "digest": digest_of(tensors, metadata)})

    def load(self, path: Path) -> Self:
        """Read the modules of an app with the same options; gives itself.

        Raises `CheckpointError`, and changes nothing that was fitted before, for a file that is damaged
        or of another app.
        """
        remedy = "Make the app with the options that the file was written with."
        tensors, metadata = read_tensors(path, remedy=remedy)
        digest = metadata.pop("digest", "")
        if metadata != {"format": FORMAT, "app": type(self).__name__}:
            raise CheckpointError(
                f"{path}: is not a {type(self).__name__} but {json.dumps(metadata)[:200]}.",
                remedy=remedy,
            )
        if digest != digest_of(tensors, metadata):
            raise CheckpointError(f"{path}: is damaged (its digest differs).", remedy=remedy)
        before = dict(vars(self))
        try:
            self.rebuild({name: tuple(value.shape) for name, value in tensors.items()})
            check_tensors(path, tensors, self._tensors())
        except TacitaError as error:
            vars(self).clear()
            vars(self).update(before)
            raise CheckpointError(f"{path}: {error.message}", remedy=remedy) from error
        for name, module in self.modules().items():
            module.load_state_dict(under(f"{name}/", tensors))
        return self

    def _tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": value.detach()
            for name, module in self.modules().items()
            for key, value in module.state_dict().items()
        }
