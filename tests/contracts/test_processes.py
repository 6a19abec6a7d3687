"""Two processes learn what one learns of the same batches: every objective, and every learner that trains.

Losses, and afterwards all that an objective keeps: weights, running statistics, teachers, queues. Views,
masks and dropout are the ones by default, drawn at random. All of it in two processes that are started
once, with double precision, so that what is left is how sums are rounded.
"""

from __future__ import annotations

import os
import socket
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, multiprocessing

from tacita.adapt.trained import Trained
from tacita.catalog.discover import cards, load_class, reads
from tacita.encoders import build
from tacita.engine.train import train
from tests.contracts.test_objectives import (
    EXAMPLES,
    OWN,
    data_for,
    labelled_data,
    make,
    own_encoder,
)
from tests.helpers import example_windows, labelled_steps, voxel_volumes

Result = dict[str, Any]

EXEMPT: dict[str, str] = {}
"""Methods whose two processes are not one, by name, and why; their cards say so too."""

OBJECTIVES = [tuple(case.values) for case in OWN]
LEARNERS = [
    (card.slug, own_encoder(card, modality), modality)
    for card in cards().values()
    if card.family in ("semisup", "adapt") and issubclass(load_class(card.slug), Trained)
    for modality in reads(card)
    if modality in EXAMPLES
]
ENGINE = {"steps": 3, "batch_size": 8, "device": "cpu", "precision": "64-true"}


def objective_result(method: str, encoder: str, modality: str) -> Result:
    objective = make(method, encoder, modality)
    data = labelled_data(modality) if objective.reads == "labelled" else data_for(modality)
    options = {**ENGINE, "optimizer": "sgd", "learning_rate": 0.05, "log_every": 1}
    history = train(objective, data, **options)
    return {"rows": history.rows, "state": objective.state_dict()}


def learner_result(method: str, encoder: str, modality: str) -> Result:
    cls = load_class(method)
    # Of a class a voxel, or a step, and of forecasts there is an example of its own.
    dense = {
        "segmentation": voxel_volumes,
        "sequence-labels": labelled_steps,
        "forecast": example_windows,
    }
    made = dense.get(next(iter(cards()[method].tasks), ""))
    data = data_for(modality) if made is None else made().normalised()
    torch.manual_seed(0)
    small = build(encoder, data.spec, **load_class(encoder).tiny)
    learner = cls(small, **cls.tiny, engine=ENGINE)
    return {"rows": [], "state": {"logits": learner.fit(data).logits(data)}}


def quick() -> set[str]:
    """One modality a method, in turn; all others are slow."""
    names: dict[str, list[str]] = {}
    for method, _, modality in OBJECTIVES + LEARNERS:
        names.setdefault(method, []).append(f"{method}-{modality}")
    return {several[at % len(several)] for at, several in enumerate(names.values())}


RUNS = {
    **{f"{case[0]}-{case[2]}": (objective_result, case) for case in OBJECTIVES},
    **{f"{case[0]}-{case[2]}": (learner_result, case) for case in LEARNERS},
}
CASES = [
    pytest.param(name, marks=() if name in quick() else pytest.mark.slow, id=name) for name in RUNS
]


def process(rank: int, port: int, folder: Path, names: list[str]) -> None:
    """What torchrun would start: the cases one after another."""
    torch.set_num_threads(1)
    world = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
    os.environ.update(world | place)
    results = {}
    for name in names:
        run, case = RUNS[name]
        try:
            results[name] = run(*case)
        except Exception:
            results[name] = {"error": traceback.format_exc()}
    torch.save(results, folder / f"{rank}.pt")


@pytest.fixture(scope="module")
def of_two(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Result]]:
    """What each of two processes has come to, by the cases that are asked for."""
    names = [
        item.callspec.params["name"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.path == request.path
        if hasattr(item, "callspec")
    ]
    folder = tmp_path_factory.mktemp("processes")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(process, (port, folder, names), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.long
@pytest.mark.parametrize("name", CASES)
def test_two_processes_learn_what_one_learns(name: str, of_two: list[dict[str, Result]]) -> None:
    run, case = RUNS[name]
    alone = run(*case)
    for shared in of_two:
        assert "error" not in shared[name], shared[name].get("error")
        for mine, theirs in zip(alone["rows"], shared[name]["rows"], strict=True):
            assert mine["total"] == pytest.approx(theirs["total"], rel=1e-6, abs=1e-9)
        for key, value in alone["state"].items():
            close(shared[name]["state"][key], value, key)


def close(value: Tensor, expected: Tensor, name: str) -> None:
    torch.testing.assert_close(
        value, expected, rtol=1e-5, atol=1e-6, msg=lambda found: f"{name}: {found}"
    )
