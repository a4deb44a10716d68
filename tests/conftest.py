"""What all tests share: long proofs (`soak`) run only when asked for, by `make soak`; a test that
waits on real time or a real peer (`slow`) is asked again, once, where a busy machine failed it.
"""

from __future__ import annotations

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long proofs too")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.flaky(reruns=1))
    if config.getoption("--soak"):
        return
    kept, left_out = [], []
    for item in items:
        (left_out if item.get_closest_marker("soak") else kept).append(item)
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = kept
