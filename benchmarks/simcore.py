"""SimCore's selection out of a million candidates against lists from the whole matrix of cosines."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks.timing import Result, peak_of_this_process
from tacita.apps.simcore.coreset import facility_greedy, prototypes_of, select_nearest

TARGET, WIDTH = 10_000, 128
MILLION = 1_000_000
Floats = NDArray[np.float32]


def run() -> list[Result]:
    """Each side in a process of its own; memory is what it takes beside the features.

    The peer, the same greedy over one matrix, cannot hold 10,000 x 1,000,000 cosines (40 GB), so it
    gets a fiftieth of the pool, and the matrix alone is set against ours at full size.
    """
    results = []
    seconds, memory = measured("ours", 100, 20_000, 50 * TARGET)
    peer_seconds, peer_memory = measured("matrix", 100, 20_000, 50 * TARGET)
    what = "SimCore, 20,000 candidates x 100 prototypes of 10,000"
    peer = "sorting the whole matrix"
    results += [
        Result(what, peer, seconds, peer_seconds, ""),
        Result(f"{what}, memory", peer, memory, peer_memory, "", "MB"),
    ]
    for k, budget, name in (
        (100, 50 * TARGET, "100 prototypes of 10,000, 20 rounds and more"),
        (TARGET, MILLION // 100, "10,000 targets, 1 % to be chosen"),
    ):
        seconds, memory = measured("ours", k, MILLION, budget)
        what = f"SimCore, 1,000,000 candidates x {name}"
        matrix = 4 * MILLION * k / 2**20
        results += [
            Result(what, "", seconds, None, "minutes"),
            Result(f"{what}, memory", "the matrix alone", memory, matrix, "", "MB"),
        ]
    return results


def measured(side: str, k: int, candidates: int, budget: int) -> tuple[float, float]:
    """Seconds, and megabytes that the selection adds to the peak of its process."""
    sizes = map(str, (k, candidates, budget))
    command = [sys.executable, "-m", "benchmarks.simcore", side, *sizes]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    seconds, memory = map(float, output.split())
    return seconds, memory


def main() -> None:
    """Print what `measured` asks for: clusters, of which the target has a tenth."""
    side = sys.argv[1]
    k, candidates, budget = map(int, sys.argv[2:])
    draw = np.random.default_rng(0)
    centres = draw.standard_normal((200, WIDTH), dtype=np.float32)
    target = around(centres[:20], TARGET, draw)
    pool = around(centres, candidates, draw)
    warm_up = select_nearest(target[:10], pool[:100], 10)
    assert len(warm_up.indices) == 10
    before, began = peak_of_this_process(), time.perf_counter()
    prototypes = prototypes_of(target, k)
    if side == "ours":
        picks = select_nearest(prototypes, pool, budget)
    else:
        norms = np.linalg.norm(pool, axis=1, keepdims=True)
        picks = facility_greedy(pool / norms @ prototypes.numpy().T, budget)
    seconds = time.perf_counter() - began
    print(seconds, peak_of_this_process() - before)
    print(f"{len(picks.indices)} picked, {picks.stopped}", file=sys.stderr)


def around(centres: Floats, count: int, draw: np.random.Generator) -> Floats:
    """`(count, WIDTH)`: in blocks, since a copy of a million would be the peak of the process."""
    rows = np.empty((count, WIDTH), dtype=np.float32)
    for block in np.array_split(rows, max(1, count // 5000)):
        block[:] = centres[draw.integers(len(centres), size=len(block))]
        block += draw.standard_normal(block.shape, dtype=np.float32)
    return rows


if __name__ == "__main__":
    main()
