"""Thousands of damaged and forged model folders: each gives a result or an error of ours, in bounds.

    python -m tests.fuzz.models --count 20000

Every change is drawn from its number alone, so that `--first NUMBER --count 1` does it again. Changed
folders are loaded and predict in worker processes with limits of time and memory, so that the crash of a
process is a finding as any other.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import multiprocessing
import os
import resource
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tacita.catalog.discover import cards, load_class
from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.encoders import default_encoder
from tacita.errors import TacitaError
from tacita.modalities.memory import as_dataset
from tacita.model.build import encoder_for, learner_for, needs_encoder
from tacita.model.metrics import Metrics
from tacita.model.model import Model
from tests.fuzz.changes import change
from tests.helpers import mixed_tables, voxel_volumes

SECONDS = 120
"""That loading and predicting may take: mostly milliseconds, but a busy machine may have others to serve."""
MEMORY = 3 * 2**30
"""Bytes that a worker may take beyond what it began with."""
TEXTS = ["a few plain words", "words of the other kind", "plain", "kind and other words"] * 6
SMALL: dict[str, tuple[str, dict[str, Any]]] = {
    "knn": ("images", {"method": "residual-cnn", "width": 4}),
    "linear-probe": ("text", {"method": "text-transformer"}),
    "supervised": ("tables", {"method": "feature-tokens", "dim": 8, "depth": 1}),
    "fixmatch": ("series", {"method": "residual-conv", "width": 4}),
    "logistic-regression": ("images", {}),
    "random-forest": ("tables", {}),
    "gradient-boosting": ("tables", {}),
    "label-spreading": ("tables", {}),
    "minirocket": ("series", {}),
    "tfidf-logistic-regression": ("text", {}),
    "tfidf-svm": ("bpe", {}),
    "tfidf-label-spreading": ("text", {}),
    "supervised-dictionary": ("images", {}),
    "segmentation": ("voxels", {}),
}
"""Learners, what each learns from, and its encoder."""


@dataclass(frozen=True)
class Finding:
    """A change that did not end as it must: its number, the model, what was changed, what happened."""

    number: int
    kind: str
    changed: str
    happened: str

    def __str__(self) -> str:
        return f"{self.number} {self.kind}: {self.changed}: {self.happened}"


def data_of(name: str) -> Dataset:
    """Two dozen tiny samples with labels."""
    drawn = np.random.default_rng(0)
    labels = ["p", "q"] * 12
    if name in ("text", "bpe"):
        return as_dataset(TEXTS, labels, tokeniser="words" if name == "text" else "bpe")
    if name == "images":
        return as_dataset(drawn.integers(0, 255, (24, 1, 8, 8), np.uint8), labels)
    if name == "series":
        items = [drawn.normal(size=(16 - i % 3, 2)).astype(np.float32) for i in range(24)]
        return as_dataset(items, labels, modality="series")
    if name == "voxels":
        return voxel_volumes()
    return mixed_tables().subset(torch.arange(24))


def saved(method: str, folder: Path) -> Dataset:
    """Write a model that has hardly learnt, and give what it predicts."""
    name, encoder = SMALL[method]
    data = data_of(name)
    if method == "segmentation":
        slug = default_encoder(data.spec, cards()[method].needs)
        encoder = {"method": slug, **load_class(slug).tiny}
    sections: dict[str, Any] = {"learn": {"method": method}}
    recipe = Recipe.model_validate({"name": method, **sections})
    if needs_encoder(recipe):
        recipe = Recipe.model_validate({"name": method, **sections, "encoder": encoder})
    network = encoder_for(recipe, data.spec) if needs_encoder(recipe) else None
    training = (
        {"steps": 2, "batch_size": 4}
        if method in ("supervised", "fixmatch", "segmentation")
        else {}
    )
    learner = learner_for(recipe, network, training).fit(data)
    Model(recipe, learner, Metrics(winner=method)).save(folder)
    return data


def judge(folder: Path, data: Dataset) -> str:
    """What happened to a changed model: "predicted", "refused", or what should not have."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                model = Model.load(folder)
            except TacitaError as error:
                named = str(folder) in error.message
                return "refused" if named else f"names no file: {error.message[:300]}"
            model.predict(data)
    except TacitaError:
        return "refused"
    except (Exception, RecursionError) as error:
        place = traceback.extract_tb(error.__traceback__)
        ours = next((f for f in reversed(place) if "tacita" in f.filename), place[-1])
        where = f"{Path(ours.filename).name}:{ours.lineno}"
        return f"{type(error).__name__} at {where}: {str(error)[:300]}"
    return "predicted"


def work(
    pipe: Connection, first: int, count: int, step: int, folders: Path, kinds: list[str]
) -> None:
    """Change, load and predict one model after the other; the number before each, the verdict after."""
    torch.set_num_threads(1)
    faulthandler.disable()
    sys.setrecursionlimit(1000)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    data = {kind: torch.load(folders / f"{kind}.data", weights_only=False) for kind in kinds}
    with tempfile.TemporaryDirectory() as place:
        for number in range(first, first + count, step):
            folder = Path(place) / "model"
            kind, changed = change(number, folders, kinds, folder)
            pipe.send((number, kind, changed))
            pipe.send(judge(folder, data[kind]))
            shutil.rmtree(folder)
    pipe.send(None)


def fuzz(
    first: int, count: int, kinds: list[str], loud: bool = False
) -> tuple[list[Finding], Counter[str]]:
    """The findings among changes `first` to `first + count`, and how each way of changing ended."""
    # Threads of OpenMP do not outlive a fork: the process would be ended for that.
    os.environ.setdefault("NUMBA_THREADING_LAYER", "workqueue")
    context = multiprocessing.get_context("fork")
    found: list[Finding] = []
    seen: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as place:
        folders = Path(place)
        for kind in kinds:
            torch.save(saved(kind, folders / kind), folders / f"{kind}.data")
        number, end = first, first + count
        while number < end:
            ours, theirs = context.Pipe(duplex=False)
            arguments = (theirs, number, end - number, 1, folders, kinds)
            process = context.Process(target=work, args=arguments, daemon=True)
            process.start()
            theirs.close()
            number = watched(ours, process, number, end, found, seen, loud)
            process.kill()
            process.join()
    return found, seen


def watched(
    pipe: Connection, process: Any, number: int, end: int,
    found: list[Finding], seen: Counter[str], loud: bool,
) -> int:  # fmt: skip
    """Follow a worker until it ends, one way or another; gives the number to go on from."""
    current = (number, "?", "?")
    try:
        while True:
            if not pipe.poll(SECONDS):
                found.append(Finding(*current, f"took more than {SECONDS} s"))
                break
            message = pipe.recv()
            if message is None:
                return end
            if isinstance(message, tuple):
                current = message
            elif message in ("predicted", "refused"):
                seen[f"{current[2].split(' ')[0]} {message}"] += 1
            else:
                found.append(Finding(*current, message))
                if loud:
                    print(found[-1], flush=True)
    except EOFError:
        process.join()
        name = signal.Signals(-process.exitcode).name if process.exitcode < 0 else process.exitcode
        found.append(Finding(*current, f"the process ended: {name}"))
    if loud:
        print(found[-1], flush=True)
    return current[0] + 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    found, seen = fuzz(options.first, options.count, list(SMALL), loud=True)
    print(json.dumps({"ended well": seen.total(), "findings": len(found), "of": dict(seen)}))
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
