"""What all tests share: long proofs (`soak`) run only when asked for, by `make soak`; a test that
waits on real time or a real peer (`slow`) is asked again, once, where a busy machine failed it.
Those and whatever measures real time are `alone`: `make test` runs them so, the others two at a
time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

TESTS: Final = Path(__file__).parent
ALONE: Final = ("live", "conformance")
"""Rooms whose tests measure real time. Elsewhere they wait for an end, however late it comes."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long proofs too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.flaky(reruns=1))
        if _is_alone(item):
            item.add_marker(pytest.mark.alone)
    if config.getoption("--soak"):
        return
    kept, left_out = [], []
    for item in items:
        (left_out if item.get_closest_marker("soak") else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept


def _is_alone(item: pytest.Item) -> bool:
    """Whether others beside it could make it fail."""
    return item.path.relative_to(TESTS).parts[0] in ALONE or item.path.stem.endswith("_live")
