"""One small running cluster for each test module, and verbs that run against it in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from click.testing import Result

from tests.cli import running
from tests.cli.running import SMALL, Up

Verb = Callable[..., Result]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`emu up` of SMALL in a process of its own."""
    folder = tmp_path_factory.mktemp("cluster")
    file = folder / "small.yaml"
    file.write_text(SMALL)
    up = Up(folder / "state", str(file))
    up.wait_ready()
    yield up
    code = up.end()
    assert code == 130, up.said


@pytest.fixture
def emu(tmp_path: Path) -> Verb:
    """`emu(words...)` where no cluster runs."""
    return partial(running.emu, tmp_path / "state")


@pytest.fixture
def ask(cluster: Up) -> Verb:
    """`ask(words...)`: a verb on the running cluster."""
    return partial(running.emu, cluster.state)
