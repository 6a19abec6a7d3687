"""Compiled loops on several threads: ranges of independent rows, one range a thread.

numba's own parallel loops abort the process when two Python threads start them at once; these
threads do not, and there are as many of them as `torch.get_num_threads()` says.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise

import torch


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="tacita-kernel")


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked child has none of the threads


def share(work: Callable[[int, int], object], rows: int) -> None:
    """Call `work(start, stop)` over ranges that cover `rows` rows; it must release the GIL.

    >>> found = []
    >>> share(lambda start, stop: found.extend(range(start, stop)), 3)
    >>> sorted(found)
    [0, 1, 2]
    """
    threads = min(torch.get_num_threads(), rows)
    if threads <= 1:
        work(0, rows)
        return
    cuts = [rows * i // threads for i in range(threads + 1)]
    waiting = [_pool(threads - 1).submit(work, *cut) for cut in pairwise(cuts[1:])]
    work(cuts[0], cuts[1])
    for each in waiting:
        each.result()
