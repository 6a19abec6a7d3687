"""What the program owes to the system it runs in: its streams, and an end when it is told to end."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TextIO


class Terminated(BaseException):
    """The system asks the process to end; all that it holds is let go of on the way out."""


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block SIGTERM ends the work as Ctrl-C does, so that no temporary file stays."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _terminate(number: int, frame: FrameType | None) -> None:
    # A second one must not interrupt the tidying.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Terminated


def at_ease(*streams: TextIO) -> None:
    """Let streams write what their encoding lacks as escapes, in place of failing at it."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def out_of_reach(stream: TextIO) -> None:
    """Let go of what a stream could not write, which Python would try again at its end."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
