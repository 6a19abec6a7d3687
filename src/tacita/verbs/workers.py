"""The folds of all candidates in processes of one thread each, as many at once as there are cores.

Most networks here are small: on two threads a step of theirs is hardly faster than on one, and beside
another busy process it takes a hundred times as long, since threads wait for each other by spinning. One
thread a process uses every core, slows down only in proportion to what else runs, and its figures do not
depend on how many cores there are.

A worker writes each result into the run's work folder, as a run without workers does; so a run that is
killed goes on from there with workers or without.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing import parent_process
from pathlib import Path
from typing import NamedTuple, Self

import joblib
import torch
from joblib.externals.loky import ProcessPoolExecutor
from threadpoolctl import threadpool_limits

from tacita.catalog.discover import HOUSE, scan
from tacita.catalog.recipe import Recipe
from tacita.data.dataset import Dataset
from tacita.encoder import Encoder
from tacita.engine.devices import make_fabric, under_torchrun
from tacita.errors import CheckpointError, TacitaError
from tacita.files import WriteError
from tacita.model.build import is_baseline
from tacita.verbs.results import file_name, pretraining_key, pretraining_name, spared
from tacita.verbs.run import Run
from tacita.views import own

WORTH = 20.0
"""Seconds of training from which processes are started; each takes some seconds to begin."""
POLL = 0.3
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS",
     "NUMBA_NUM_THREADS"), "1"
)  # fmt: skip
MEMORY = 700 * 2**20
"""Bytes that a process takes beside its data, roughly."""
COPIES = 4
"""How often a process may hold its data: as they are, normalised, a fold of them, batches."""


class Job(NamedTuple):
    """A fold of a candidate, its fit on all labels (under the next number), or its pretraining (None)."""

    recipe: Recipe
    number: int | None


class Done(NamedTuple):
    """What a worker says of a job: warnings, and the error where it failed."""

    said: list[str]
    error: TacitaError | None


def on_one_thread(device: str) -> bool:
    """Whether trainings have one thread each: on a CPU, and not where processes train together."""
    return not under_torchrun() and make_fabric(device, "32-true").device.type == "cpu"


@contextmanager
def one_thread() -> Iterator[None]:
    """Within the block, this process computes on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)


def processes_for(
    data: Dataset, recipes: Sequence[Recipe], device: str, start: Encoder | None = None
) -> int:
    """How many processes may train at once, by the cores, the memory, and what is to be trained.

    start: the encoder that all start from, if they do.
    """
    if not on_one_thread(device) or parent_process() is not None:
        return 1
    if not _elsewhere(recipes, (data.kind, data.task, *(() if start is None else start.modules()))):
        return 1
    room = _free_memory() // (MEMORY + COPIES * data.samples.nbytes)
    return max(1, min(joblib.cpu_count(), room))


def _elsewhere(recipes: Sequence[Recipe], parts: Iterable[object]) -> bool:
    """Whether another process, which knows tacita alone, can do it: nothing is of the user's own."""
    sections = [section for recipe in recipes for section in recipe.sections.values()]
    values = {
        value for each in sections for value in each.options.values() if isinstance(value, str)
    }
    return (
        {section.method for section in sections} <= set(scan(HOUSE))
        and values.isdisjoint(own())
        and all(type(part).__module__.partition(".")[0] in ("tacita", "torch") for part in parts)
    )


def _free_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(
            int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")
        )
    except (OSError, StopIteration, ValueError, IndexError):
        return 2**63  # The system does not tell.


class Workers:
    """Processes at the work of a run; they end, whatever they are at, when the block is left.

    processes: how many at most; one or none starts no process, and leaves the work to `Run.row`.
    """

    def __init__(self, run: Run, processes: int) -> None:
        self.run = run
        self.processes = processes
        self.apart = processes > 1
        self._pool: ProcessPoolExecutor | None = None
        self._at: dict[Future[Done], Job] = {}
        self._recipes: list[Recipe] = []
        self._pretrained: set[str] = set()
        self._read: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def finish(self, recipes: Sequence[Recipe]) -> Iterator[Recipe]:
        """Every recipe, each as soon as all of its folds are on disk or it has failed.

        Once one has a score, what would end too late is not begun, and at the run's deadline what is at work
        is left: the others are given as they are. Raises what is no candidate's fault: a folder that
        cannot be written.
        """
        if not self.apart:
            yield from recipes
            return
        self._recipes = left = list(recipes)
        while left:
            over = [each for each in left if self._is_over(each)]
            left = [each for each in left if each not in over]
            yield from over
            if self.run.out_of_time:
                yield from left
                return
            self._begin(left)
            if left and not self._at:  # Nothing more can be over in time.
                yield from left
                return
            ended, _ = wait(self._at, timeout=POLL, return_when=FIRST_COMPLETED)
            self._show_progress()
            self._note({future: self._at.pop(future) for future in ended})

    def refit(self, recipes: Sequence[Recipe]) -> None:
        """Fit each on all labels; `Run.refit` finds them then, and fits itself what is not there.

        That is all of them where processes had to begin for what hardly takes longer than their start.
        """
        if not self.apart or len(recipes) < 2:
            return
        if self._at:  # Folds for which there was no time.
            self._end()
        expected = self.run.deadline.expected
        takes = sum(cost.learn for each in recipes if (cost := expected.get(each.name)))
        if self._pool is None and takes < WORTH:
            return
        left = [Job(each, len(self.run.folds)) for each in recipes]
        while left or self._at:
            while left and len(self._at) < self.processes:
                self._submit(left.pop(0))
            ended, _ = wait(self._at, timeout=POLL, return_when=FIRST_COMPLETED)
            self._show_progress()
            jobs = list(self._at.values())
            self._note({future: self._at.pop(future) for future in ended})
            if ended and not self._at:  # All of them ended, or their processes were killed.
                left = [job for job in jobs if not self._is_fitted(job)] + left

    def _is_fitted(self, job: Job) -> bool:
        return job.recipe.name in self.run.failed or self.run.is_refitted(job.recipe)

    def _is_over(self, recipe: Recipe) -> bool:
        numbers = range(len(self.run.folds))
        return recipe.name in self.run.failed or all(self.run.is_done(recipe, n) for n in numbers)

    def _begin(self, recipes: Sequence[Recipe]) -> None:
        """Give the idle processes something to do."""
        for job in self._jobs(recipes):
            if len(self._at) >= self.processes:
                return
            self._submit(job)

    def _submit(self, job: Job) -> None:
        if self._pool is None:
            self._pool = _pool(self.run, self.processes)
        self._at[self._pool.submit(_do, job)] = job

    def _jobs(self, recipes: Sequence[Recipe]) -> Iterator[Job]:
        """What can be begun now: baselines, pretrainings, and folds that wait for none, in this order."""
        at = {(_name(job), job.number) for job in self._at.values()}
        waiting = [each for each in recipes if self._waits(each)]
        ready = [each for each in recipes if each not in waiting]
        yield from self._folds([each for each in ready if is_baseline(each)], at)
        for recipe in waiting:
            job = Job(recipe, None)
            if (_name(job), None) not in at and not self.run.is_late(recipe, pretrained=False):
                at.add((_name(job), None))
                yield job
        yield from self._folds([each for each in ready if not is_baseline(each)], at)

    def _waits(self, recipe: Recipe) -> bool:
        """Whether its folds wait for a pretraining."""
        return recipe.pretrain is not None and pretraining_key(recipe) not in self._pretrained

    def _folds(
        self, recipes: Sequence[Recipe], at: Collection[tuple[str, int | None]]
    ) -> Iterator[Job]:
        for recipe in recipes:
            if self.run.is_late(recipe, pretrained=True):
                continue
            for number in range(len(self.run.folds)):
                if (recipe.name, number) not in at and not self.run.is_done(recipe, number):
                    yield Job(recipe, number)

    def _note(self, ended: dict[Future[Done], Job]) -> None:
        """What has ended: its warnings, its error, or that its process was killed."""
        for future, job in ended.items():
            try:
                done = future.result()
            except BrokenProcessPool:
                self._end()
                if self.processes == 1:
                    self._fail(job, "its process was killed, by the system if memory ran out")
                # Which of several it was cannot be told: all that ran go again, one at a time.
                self.processes = 1
                return
            for text in done.said:
                self.run.alarm(text)
            if isinstance(done.error, CheckpointError | WriteError):
                raise done.error
            if done.error is not None:
                self._fail(job, done.error.message)
            elif job.number is None:
                self._pretrained.add(_name(job))

    def _fail(self, job: Job, why: str) -> None:
        """A fold fails its candidate; a pretraining all that share it, which would only fail again."""
        self.run.failed[job.recipe.name] = why
        for each in self._recipes if job.number is None else ():
            if each.pretrain is not None and pretraining_key(each) == _name(job):
                self.run.failed[each.name] = why

    def _show_progress(self) -> None:
        """Move the bar by the rows that the trainings have written since the last look."""
        if self.run.tick is None:
            return
        for job in self._at.values():
            name, training = job.recipe.name, f"{file_name(job.recipe)}.{job.number}"
            if job.number is None and job.recipe.pretrain is not None:
                name, training = pretraining_name(job.recipe.pretrain), f"pretrain-{_name(job)}"
            for step in self._new_steps(self.run.progress(training)):
                self.run.tick(name, training, step)

    def _new_steps(self, path: Path) -> list[int]:
        steps = []
        with suppress(OSError, ValueError, KeyError), path.open("rb") as file:
            file.seek(self._read.get(path, 0))
            for line in file:
                if not line.endswith(b"\n"):
                    break  # It is being written.
                self._read[path] = self._read.get(path, 0) + len(line)
                steps.append(int(json.loads(line)["step"]))
        return steps

    def _end(self) -> None:
        self._at.clear()
        if self._pool is not None:
            self._pool.shutdown(wait=True, kill_workers=True)
            self._pool = None


def _name(job: Job) -> str:
    return job.recipe.name if job.number is not None else pretraining_key(job.recipe)


def _pool(run: Run, processes: int) -> ProcessPoolExecutor:
    theirs = Run(
        run.data, run.scored, run.folds, run.work, metric=run.metric, start=run.start,
        keep_learners=run.keep_learners, alone=run.alone, in_worker=True, engine=run.engine,
    )  # fmt: skip
    # Unlike those of the standard library, it starts from scripts whose main part has no guard.
    return ProcessPoolExecutor(
        max_workers=processes,
        initializer=_start,
        initargs=(pickle.dumps(theirs), os.getpid()),
        env=ONE_THREAD,
    )


# In a worker

_RUN: list[Run] = []


def _start(run: bytes, parent: int) -> None:
    # Ctrl-C reaches every process of a terminal; whoever started this one ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(1)
    _RUN[:] = [pickle.loads(run)]


def _end_with(parent: int) -> None:
    """End when the process that began this one has been killed, so that nobody works beside its heir."""
    while hasattr(signal, "SIGKILL"):  # Elsewhere an orphan keeps the number of its parent.
        if os.getppid() != parent:
            os._exit(1)
        time.sleep(1)


def _do(job: Job) -> Done:
    said: list[str] = []
    run = _RUN[0]
    run.warn = said.append
    try:
        with spared(run.alone):
            if job.number is None:
                run.encoder(job.recipe)
            elif job.number == len(run.folds):
                run.refit(job.recipe)
            else:
                run.fold(job.recipe, job.number)
    except TacitaError as error:
        return Done(said, error)
    return Done(said, None)
