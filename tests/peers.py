"""Real software that tests talk to: found, or skipped with its reason (failed where CI=true)."""

from __future__ import annotations

import os
import shutil

import pytest

SYSTEM_PATH = "/usr/sbin:/sbin:/usr/local/bin"


def need(program: str, package: str = "", *, install: str = "") -> str:
    """The path of `program`. Without it the test is skipped on a laptop, and fails in CI."""
    found = shutil.which(program) or shutil.which(program, path=SYSTEM_PATH)
    if found is not None:
        return found
    how = install or f"Debian: apt install {package or program}"
    reason = f"{program} is not installed ({how})"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
