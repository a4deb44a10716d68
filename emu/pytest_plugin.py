"""A pytest plugin: tests that bring up a whole cluster in virtual time, once per seed.

Write `@pytest.mark.seeds(100)` on `async def test_...(cluster)`; in it, `async with
cluster("web.yaml") as c` gives a Scenario. A failing seed is a test of its own,
`test_...[seed-37]`: its name replays it.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.scenario import Scenario

FIXTURE: Final = "cluster"
MARKER: Final = "seeds(n): run the test in n simulated worlds, each under its own seed"


class Opener:
    """The `cluster` fixture: `async with cluster(topology) as c`, in the test's world and seed."""

    def __init__(self, world: str, seed: int | None) -> None:
        self.world = world
        self.seed = seed
        self.opened: list[Scenario] = []

    @asynccontextmanager
    async def __call__(
        self, topology: str | Path | Topology, **options: Any
    ) -> AsyncIterator[Scenario]:
        """Options: those of emu.cluster."""
        from emu.scenario import cluster
        from emu.sim.world import Knobs

        ours: dict[str, Any] = {"world": self.world, "seed": self.seed}
        if self.world == "sim" and self.seed is not None:
            ours["knobs"] = Knobs.draw(self.seed)
        async with cluster(topology, **{**ours, **options}) as opened:
            self.opened.append(opened)
            yield opened

    def run(self, test: Callable[[], Any]) -> None:
        """Run an async test in this world's time."""
        if self.world == "live":
            import trio

            trio.run(test, strict_exception_groups=True)
            return
        from emu.sim.run import in_virtual_time

        outcome = in_virtual_time(test, seed=self.seed or 0)
        if outcome.error is not None:
            raise outcome.error


@pytest.fixture
def cluster(request: pytest.FixtureRequest) -> Opener:
    """Opens clusters: `async with cluster("topology.yaml") as c`. See emu.scenario.Scenario."""
    return Opener(request.config.getoption("--emu-world"), getattr(request, "param", None))


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("emu")
    group.addoption(
        "--emu-world", choices=("sim", "live"), default="sim", help="where clusters run (sim)"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", MARKER)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test for each seed. Live, seeds mean nothing, so there is one."""
    marker = metafunc.definition.get_closest_marker("seeds")
    if marker is None or FIXTURE not in metafunc.fixturenames:
        return
    if len(marker.args) != 1 or not isinstance(marker.args[0], int) or marker.args[0] < 1:
        raise pytest.UsageError(f"{metafunc.definition.nodeid}: write @pytest.mark.seeds(100)")
    seeds = range(
        1, 2 if metafunc.config.getoption("--emu-world") == "live" else marker.args[0] + 1
    )
    metafunc.parametrize(FIXTURE, seeds, ids=[f"seed-{seed}" for seed in seeds], indirect=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Async tests that use our fixture are run by us, whatever else runs async tests here."""
    for item in items:
        if isinstance(item, pytest.Function) and _is_ours(item):
            item.obj = _in_world(item.obj)


def _is_ours(item: pytest.Function) -> bool:
    fixtures = item._fixtureinfo.name2fixturedefs.get(FIXTURE, ())
    return (
        inspect.iscoroutinefunction(item.obj)
        and bool(fixtures)
        and fixtures[-1].baseid == ""
        and fixtures[-1].func.__module__ == __name__
    )


def _in_world(test: Callable[..., Any]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        opener: Opener = arguments[FIXTURE]
        opener.run(functools.partial(test, **arguments))

    return run


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failure says what was wrong in its cluster: the lost writes, by name; and one that a seed
    made, how to have it again."""
    outcome: Any = yield
    report = outcome.get_result()
    opener = getattr(item, "funcargs", {}).get(FIXTURE)
    if not (report.failed and isinstance(opener, Opener)):
        return
    from emu.verdict.finished import told

    wrong = [line for each in opener.opened if each.finished for line in told(each.finished)]
    if wrong:
        report.sections.append(("what was wrong", "\n".join(wrong)))
    if opener.seed is not None:
        from emu.versions import versions

        known = ", ".join(f"{name} {number}" for name, number in versions().items())
        report.sections.append(("replay", f"pytest '{item.nodeid}'   ({known})"))
