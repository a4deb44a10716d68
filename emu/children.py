"""Python processes that this one starts: none looks for a module in the current folder, which is
the user's, and may hold an `http.py` or a `nodes/` of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

PYTHON: Final = (sys.executable, "-P")
"""What begins a command line of one."""
SAFE_PATH: Final = "PYTHONSAFEPATH"


@contextmanager
def safely_spawned() -> Iterator[None]:
    """Processes that multiprocessing starts meanwhile are of that kind too; it takes no option."""
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before
