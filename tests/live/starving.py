"""A computer that is too busy: programs that spin beside a running emu, and stops of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

SPIN = """
import os, sys, time
until_s = time.monotonic() + float(sys.argv[2])
for _ in range(int(sys.argv[1]) - 1):
    if os.fork() == 0:
        break
while time.monotonic() < until_s:
    pass
"""


@contextmanager
def spinning(count: int, for_s: float) -> Iterator[None]:
    """So many programs that do nothing but compute; they end by themselves."""
    began_s = time.monotonic()
    first = subprocess.Popen([sys.executable, "-S", "-c", SPIN, str(count), str(for_s)])
    try:
        yield
    finally:
        first.wait()
        time.sleep(max(0.0, began_s + for_s - time.monotonic()))


def stop_and_go(process: subprocess.Popen[bytes], stops_s: Iterable[float], pause_s: float) -> None:
    """Stop the process for so long each time, as a laptop that sleeps or a debugger does."""
    for stop_s in stops_s:
        time.sleep(pause_s)
        process.send_signal(signal.SIGSTOP)
        time.sleep(stop_s)
        process.send_signal(signal.SIGCONT)
