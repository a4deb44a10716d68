"""What all tests share: long proofs (`soak`) run only when asked for, by `make soak`; a test that
waits on real time or a real peer (`slow`) is asked again, once, where a busy machine failed it.
Those and whatever measures real time are `alone`: `make test` runs them so, the others two at a
time.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest

TESTS: Final = Path(__file__).parent
ALONE: Final = ("live", "conformance")
"""Rooms whose tests measure real time. Elsewhere they wait for an end, however late it comes."""


BYTECODE: Final = Path(sys.prefix) / ".bytecode"


def _keep_bytecode() -> None:
    """Also where the environment says not to (containers do): to compile all of emu is half of what
    an `emu` takes to start, and the tests start hundreds."""
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = str(BYTECODE)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_keep_bytecode()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run the long proofs too")


def pytest_collection_finish() -> None:
    _age()


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> None:
    if nextitem is not None and nextitem.path != item.path:
        _age()


def _age() -> None:
    """A simulated run begins with a collection, which need not look at what pytest and the modules
    hold: it took a sixth of the time of tests/sim."""
    gc.collect()
    gc.freeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """To read all the other tests takes longer than many that are `alone`."""
    is_test = collection_path.name.startswith("test_")
    wanted = config.option.markexpr != "alone" or not is_test or _measures_time(collection_path)
    return None if wanted else True


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
    params: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
    in_virtual_time = "sim" in (params.get("make_world"), params.get("where"))
    return _measures_time(item.path) and not in_virtual_time


def _measures_time(path: Path) -> bool:
    return path.relative_to(TESTS).parts[0] in ALONE or path.stem.endswith("_live")
