"""Folds in processes of their own: the same figures, errors by name, and an end with their parent."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest
import torch

from tacita.catalog.recipe import Recipe, Section
from tacita.data.splits import Fold
from tacita.errors import CheckpointError, DataError, MissingExtraError
from tacita.modalities.load import load
from tacita.values import Ragged
from tacita.verbs.budget import Cost
from tacita.verbs.deadline import Deadline
from tacita.verbs.plan import resolved
from tacita.verbs.results import FoldResult
from tacita.verbs.run import Run
from tacita.verbs.workers import Done, Job, Workers, one_thread, processes_for
from tests.helpers import example

DATA = load("wine").normalised()


def recipe(name: str, method: str) -> Recipe:
    train = {"steps": 30} if method in ("supervised", "fine-tune") else {}
    pretrain = None
    if method == "fine-tune":
        pretrain = Section(method="mae", train={"steps": 30})
    learn = Section(method=method, train=train)
    return resolved(Recipe(name=name, pretrain=pretrain, learn=learn), DATA)


FOREST, NETWORK = recipe("forest", "random-forest"), recipe("network", "supervised")
PRETRAINED = recipe("pretrained", "fine-tune")


def run_in(work: Path, **settings: object) -> Run:
    folds = [Fold(torch.arange(0, 178, 2), torch.arange(1, 178, 2)),
             Fold(torch.arange(1, 178, 2), torch.arange(0, 178, 2))]  # fmt: skip
    return Run(DATA, DATA, folds, work, engine={"device": "cpu"}, **settings)  # type: ignore[arg-type]


@pytest.mark.long
def test_workers_leave_what_one_process_would_and_tell_of_their_steps(tmp_path: Path) -> None:
    recipes = [FOREST, NETWORK, PRETRAINED]
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    with one_thread():
        here = run_in(tmp_path / "here")
        expected = {each.name: here.row(each) for each in recipes}
    ticks: dict[tuple[str, str], int] = {}
    there = run_in(tmp_path / "there", tick=lambda n, t, step: ticks.update({(n, t): step}))
    with Workers(there, 2) as workers:
        found = {each.name: there.row(each) for each in workers.finish(recipes)}
        assert workers._pool is not None
    assert next(iter(found)) == "forest"
    for name, row in expected.items():
        assert found[name].scores == row.scores
        assert found[name].folds == row.folds
        assert found[name].rank == row.rank
    logits = [run.learner(NETWORK).logits(DATA) for run in (here, there)]
    assert torch.equal(*logits)
    assert there.histories.keys() == here.histories.keys()
    assert {training for _, training in ticks} >= {"network.0", "network.1"} or not ticks


def test_from_a_moment_on_nothing_begins_once_there_is_a_score(tmp_path: Path) -> None:
    run = run_in(tmp_path, deadline=Deadline(time.monotonic() - 1))
    rows = {each.name: run.row(each) for each in Workers(run, 1).finish([NETWORK, FOREST])}
    # The first is finished however late it is, so that there is a model.
    assert rows["network"].mean is not None
    assert rows["forest"].error == "The budget had no time left for it: 0 of 2 folds were done."


@pytest.mark.parametrize("processes", [1, 2])
def test_what_would_end_too_late_is_not_begun(tmp_path: Path, processes: int) -> None:
    expected = {"network": Cost(0.0, 50.0), "pretrained": Cost(50.0, 0.1, "mae")}
    run = run_in(tmp_path, deadline=Deadline(time.monotonic() + 40, expected=expected))
    assert run.row(FOREST).mean is not None  # Before there is a score, nothing is too late.
    with Workers(run, processes) as workers:
        rows = {each.name: run.row(each) for each in workers.finish([NETWORK, PRETRAINED])}
        assert workers._pool is None
    for name in ("network", "pretrained"):
        assert rows[name].error == "The budget had no time left for it: 0 of 2 folds were done."


def test_a_machine_that_is_slower_than_planned_begins_less(tmp_path: Path) -> None:
    expected = {"network": Cost(0.0, 1.0), "pretrained": Cost(0.0, 10.0)}
    run = run_in(tmp_path, deadline=Deadline(time.monotonic() + 100, 1.0, expected))
    run.row(FOREST)
    for seconds, late in (
        (1.5, False),
        (30.0, True),
    ):  # The other is planned for 11 seconds in all.
        for number in range(2):
            result = FoldResult(
                scores={"accuracy": 0.5}, seconds=seconds, peak_mb=0.0, rows=[], pretraining=[]
            )
            run._result(NETWORK, number).write_text(result.model_dump_json())
        run.row(NETWORK)
        assert run.is_late(PRETRAINED, pretrained=True) is late


def fake(outcome: Done | BaseException) -> Future[Done]:
    future: Future[Done] = Future()
    if isinstance(outcome, BaseException):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)
    return future


def test_an_error_of_ours_is_the_candidates_and_one_of_the_folder_ends_the_run(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    run = run_in(tmp_path, warn=said.append)
    workers = Workers(run, 2)
    workers._note({fake(Done(["network: odd"], DataError("not so"))): Job(NETWORK, 0)})
    assert said == ["network: odd"]
    assert run.row(NETWORK).error == "not so"
    with pytest.raises(CheckpointError, match="full"):
        workers._note({fake(Done([], CheckpointError("full"))): Job(FOREST, 0)})


def test_a_pretraining_that_fails_is_not_tried_for_each_that_shares_it(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    workers = Workers(run, 2)
    other = PRETRAINED.model_copy(update={"name": "other"})
    workers._recipes = [NETWORK, PRETRAINED, other]
    workers._note({fake(Done([], DataError("astray"))): Job(PRETRAINED, None)})
    assert run.failed == {"pretrained": "astray", "other": "astray"}


def test_a_killed_process_is_tried_again_alone_and_then_named(tmp_path: Path) -> None:
    run = run_in(tmp_path)
    workers = Workers(run, 3)
    workers._note(
        {fake(BrokenProcessPool()): Job(NETWORK, 0), fake(Done([], None)): Job(FOREST, 0)}
    )
    assert workers.processes == 1
    assert not run.failed
    workers._note({fake(BrokenProcessPool()): Job(NETWORK, 0)})
    assert "killed" in run.failed["network"]
    assert run.row(FOREST).mean is not None


def test_what_another_process_would_not_know_stays_in_this_one() -> None:
    assert processes_for(DATA, [NETWORK], "cpu") >= 1
    own = Recipe(name="mine", learn=Section(method="not-of-the-house"))
    assert processes_for(DATA, [own], "cpu") == 1


def test_samples_of_very_unequal_lengths_are_not_padded_to_be_counted() -> None:
    lengths = torch.tensor([10**7, *[1] * 9999])
    data = example("series")
    uneven = data.subset(torch.arange(10**4) % len(data)).with_samples(
        Ragged(torch.zeros(int(lengths.sum()), *data.samples[:1].flat.shape[1:]), lengths)
    )
    with pytest.raises(DataError, match="would be padded"):
        _ = uneven.x
    assert processes_for(uneven, [NETWORK], "cpu") >= 1


def test_errors_can_be_sent_from_process_to_process() -> None:
    import pickle

    for error in (DataError("a", remedy="b"), MissingExtraError("package", "extra")):
        again = pickle.loads(pickle.dumps(error))
        assert (str(again), again.message, again.remedy) == (
            str(error),
            error.message,
            error.remedy,
        )
        assert type(again) is type(error)


KILLED = """
import sys
from pathlib import Path
from tests.verbs.test_workers import NETWORK, Workers, run_in
from tacita.verbs import workers
run = run_in(Path(sys.argv[1]))
long = NETWORK.model_copy(update={"learn": NETWORK.learn.model_copy(
    update={"train": {**NETWORK.learn.train, "steps": 10**6}})})
with Workers(run, 2) as pool:
    for _ in pool.finish([long]):
        pass
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)])
    until = time.monotonic() + 60
    while not list(tmp_path.glob("network.*.jsonl")) and time.monotonic() < until:
        time.sleep(0.2)
    children = [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc")))
                if _parent(pid) == parent.pid]  # fmt: skip
    assert len(children) >= 2
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    until = time.monotonic() + 60
    while any(_parent(pid) for pid in children) and time.monotonic() < until:
        time.sleep(0.2)
    assert not [pid for pid in children if _parent(pid)]


def _parent(pid: int) -> int:
    """The number of a process's parent; 0 for a process that has ended."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return 0
    return 0 if state == "Z" else int(parent)


def test_without_a_budget_nothing_ends_it(tmp_path: Path) -> None:
    assert run_in(tmp_path).deadline.end == math.inf
