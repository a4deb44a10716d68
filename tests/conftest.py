"""What all tests share: long proofs (`soak`) run only when asked for, by `make soak`; a test that
waits on real time or a real peer (`slow`) is asked again, once, where a busy machine failed it.
Those and whatever talks to real sockets are `live`: `make test` runs them alone, the others two at
a time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
LIVE_ROOMS: Final = ("live", "conformance", "observe", "cli")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long proofs too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.flaky(reruns=1))
        if item.get_closest_marker("slow") or _talks(item.path):
            item.add_marker(pytest.mark.live)
    if config.getoption("--soak"):
        return
    kept, left_out = [], []
    for item in items:
        (left_out if item.get_closest_marker("soak") else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _talks(file: Path) -> bool:
    """Whether a file's tests run beside real sockets and real time."""
    inside = file.relative_to(TESTS).parts
    return inside[0] in LIVE_ROOMS or file.stem.endswith("_live")
