"""Mutated files of every kind through every reader: `python -m tests.fuzz.readers --count 200000`.

Each must become a data set or one of our errors, in seconds and without much memory. Batches run in a
process of their own, so that a crash is counted and the rest goes on; what was found is kept with its bytes.
"""

import argparse
import contextlib
import json
import os
import random
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path

from tacita.data.check import check_trainable
from tacita.errors import TacitaError
from tacita.modalities.load import load, read_like
from tacita.modalities.memory import as_dataset
from tests.fuzz.mutations import mutated
from tests.fuzz.seeds import FRAME, SEEDS, SERIES

NAMES = sorted(SEEDS)
BATCH = 500
SECONDS = 15
MEMORY = 2**31
"""Bytes beyond what the process had at first."""


class Slow(BaseException):
    """A reader took too long; no reader may catch it."""


def case(number: int) -> tuple[str, bytes]:
    """The name and the content of a mutated file: the same for a number, always."""
    rng = random.Random(number)
    name = NAMES[number % len(NAMES)]
    kind = name.rpartition(".")[2]
    others = [SEEDS[each] for each in NAMES if each.endswith(kind)]
    return name, mutated(name, SEEDS[name], others, rng)


def schemas():
    """What models may have learnt from, one for each form of data."""
    return [
        as_dataset(FRAME, labels="y", missing="impute").schema,
        as_dataset(SERIES).schema,
        as_dataset(SERIES.astype("uint8")).schema,
    ]


def read(name: str, content: bytes, folder: Path, known: list) -> str:
    """Read one file in every way: "read" or "refused". Anything but our own errors comes out."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    source = path if path.parent == folder else path.parent
    table = name.startswith(("t.", "p."))
    options = {"missing": "impute", "labels": "y" if table else None}
    if name.startswith("long"):
        options = {"series_id": "m", "time": "t", "labels": "y"}
    outcome = "refused"
    with contextlib.suppress(TacitaError):
        data = load(source, **options)
        outcome = "read"
        with contextlib.suppress(TacitaError):
            check_trainable(data)
        with contextlib.suppress(TacitaError):
            for _ in read_like(source, data.schema, chunk=2):
                pass
    with contextlib.suppress(TacitaError):
        for _ in read_like(source, known[len(content) % len(known)], chunk=2):
            pass
    path.unlink()
    return outcome


def one(number: int, folder: Path, known: list) -> str:
    """The outcome of a case: as `read`, or what went wrong in a line."""
    name, content = case(number)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.signal(signal.SIGALRM, _too_slow)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome = read(name, content, folder, known)
    except Slow:
        outcome = "slow"
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        outcome = f"{type(error).__name__} in {place.name}: {str(error)[:120]}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    return f"{grown / 2**30:.1f} GiB" if grown > MEMORY else outcome


def batch(start: int, stop: int, known: list) -> list[str]:
    """Outcomes of these cases; those of a process that died or hangs end with the case at fault."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        _child(start, stop, known, writer)
    os.close(writer)
    lines = ""
    with os.fdopen(reader, encoding="utf-8") as pipe:
        while select.select([pipe], [], [], 4 * SECONDS)[0]:
            text = os.read(pipe.fileno(), 2**16).decode("utf-8", "replace")
            if not text:
                break
            lines += text
        else:
            os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    outcomes = [json.loads(line) for line in lines.split("\n")[:-1]]
    if len(outcomes) < stop - start:
        outcomes.append(f"died of signal {os.WTERMSIG(status)}")
    return outcomes


def _child(start: int, stop: int, known: list, writer: int) -> None:
    try:
        _, hard = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
        # Decoders of other people's formats talk.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with tempfile.TemporaryDirectory(dir=_fast()) as folder:
            for number in range(start, stop):
                outcome = one(number, Path(folder), known)
                os.write(writer, (json.dumps(outcome) + "\n").encode())
    finally:
        os._exit(0)


def _fast() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _too_slow(*_: object) -> None:
    raise Slow


def main() -> None:
    """Run so many cases, and exit with 1 if any outcome is neither read nor refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--start", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--found", type=Path, help="a folder for the files that did harm")
    told = parser.parse_args()
    known, began, number = schemas(), time.monotonic(), told.start
    outcomes: Counter[str] = Counter()
    while number < told.start + told.count and time.monotonic() - began < told.seconds:
        for outcome in batch(number, min(number + BATCH, told.start + told.count), known):
            kind = outcome if outcome in ("read", "refused") else "harm"
            outcomes[kind] += 1
            if kind == "harm":
                name, content = case(number)
                print(f"case {number} {name}: {outcome}", flush=True)
                if told.found:
                    kept = told.found / f"{number}-{name.replace('/', '-')}"
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    kept.write_bytes(content)
            number += 1
    print(f"{sum(outcomes.values())} cases: {dict(outcomes)}, {time.monotonic() - began:.0f} s")
    sys.exit(outcomes["harm"] > 0)


if __name__ == "__main__":
    main()
