"""Real software that tests talk to: found, or skipped with its reason (failed where CI=true)."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest

SYSTEM_PATH = "/usr/sbin:/sbin:/usr/local/bin"


def need(program: str, package: str = "", *, install: str = "") -> str:
    """The path of `program`. Without it the test is skipped on a laptop, and fails in CI."""
    found = shutil.which(program) or shutil.which(program, path=SYSTEM_PATH)
    if found is None:
        how = install or f"Debian: apt install {package or program}"
        missing(f"{program} is not installed ({how})")
    return found


def missing(reason: str) -> NoReturn:
    """A peer is not there: skip the test, or fail it in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
