"""Every planted bug of operations is found within 200 seeds, by hunts that know none of them: rules
against promtool, backups against what was acknowledged, deploys against what users saw.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import pytest

import emu
from emu.topology.loading import loads
from protocols.errors import RpcError
from tests.alerts.test_against_prometheus import ask_promtool
from tests.peers import need
from tests.planting import MOST_SEEDS, Room, Script, among, each_of, first_found, look_again
from tests.sim.planted_operations import ALERTS, BACKUPS, BUGS, DEPLOYS, OperationsBug

MOST_GAP_S = 0.5
"""A switchover takes less; an election takes more."""
DATABASE = """
name: hunted
tiers:
  db: {kind: database, nodes: 3, public: true, detection_timeout: 500ms, snapshot_every: 2KB,
       retained: 1KB}
"""
SITE = """
name: hunted
tiers:
  lb: {kind: balancer, public: true, balances: web, check_interval: 500ms}
  web: {kind: web, nodes: 3, app: "hunted1:app", cpu: {cores: 2, service_time: 20ms}}
  db: {kind: database, nodes: 3, public: true, detection_timeout: 1s}
users:
  local: {rate: 40/s, visits: lb, timeout: 2s, retries: 0, requests_per_connection: 2}
"""
APP = '''
"""A version that fails one in so many requests."""

import itertools

from protocols.http.message import Response

turns = itertools.count(1)


async def app(request, services):
    return Response(500 if next(turns) % {every} == 0 else 200, body=b"hello")
'''
VERSIONS = {"hunted1": 100, "hunted2": 15, "hunted3": 100}
"""Of every so many requests one fails: the second is worse, the third is as the first."""
FILE = "/shelf/hunted"


async def done(c: emu.Scenario, verb: str, *values: Any, **options: Any) -> dict[str, Any]:
    return await (await getattr(c, verb)(*values, **options)).ended()


# --- the hunts: what is wrong under a seed, or "" ------------------------------------------------


def alerts_under(seed: int, folder: Path) -> str:
    try:
        ask_promtool(folder / str(seed), range(seed, seed + 1))
    except AssertionError as error:
        return f"promtool: {str(error)[:200]}"
    return ""


async def _write(c: emu.Scenario, acknowledged: list[tuple[int, int]], rng: random.Random) -> None:
    for value in range(60):
        await c.sql("db", f"INSERT INTO t VALUES ({value})")
        acknowledged.append((value, max(int(row["lsn"]) for row in await c.ps("db"))))
        await c.sleep(rng.choice((0.0, 0.01, 0.1)))


async def _backed_up(c: emu.Scenario) -> str:
    rng, acknowledged = c.cluster.rng, list[tuple[int, int]]()
    await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL)")
    c.cluster.nursery.start_soon(_write, c, acknowledged, rng)
    await c.sleep(rng.uniform(0.3, 2.5))
    before = [value for value, _ in acknowledged]
    told = await done(c, "backup", "db", FILE)
    await c.sleep(rng.uniform(0.0, 1.0))
    last, first = told["lsns"]["db"], max(1, told["earliest_lsns"]["db"])
    at = rng.choice((last, rng.randint(first, last)))
    await c.sleep(10)
    await done(c, "restore", "db", FILE, at=at)
    found = [row[0] for row in (await c.sql("db", "SELECT id FROM t ORDER BY id"))["rows"]]
    if found != list(range(len(found))):
        return f"holes: {found}"
    if at == last and len(found) < len(before):
        return f"{len(before)} were acknowledged before the backup, {len(found)} are in it"
    kept = [value for value, lsn in acknowledged if lsn <= at]
    beyond = [value for value, lsn in acknowledged if value in found and lsn > at + 2]
    if found[: len(kept)] != kept or beyond:
        return f"at {at}: {found}, and {kept} were acknowledged by then"
    await c.sleep(2)
    digests = list((await c.call_admin("db", "state_digest")).values())
    if any(each != digests[0] for each in digests):
        return f"members differ: {digests}"
    return ""


def backups_under(seed: int, folder: Path) -> str:
    try:
        return emu.run(_backed_up, loads(DATABASE), seed=seed)
    except (RpcError, ValueError, AssertionError) as error:
        return repr(error)


async def _deployed(c: emu.Scenario) -> str:
    await c.sleep(3)
    writer = c.cluster.nursery.start_soon
    refused: list[float] = []
    await c.sql("db", "CREATE TABLE t (id INTEGER PRIMARY KEY NOT NULL)")
    writer(_write_on, c, refused)
    bad = await done(c, "deploy", "web", app="hunted2:app", canary_ratio=0.3, watch_s=15.0)
    running = [each.placement.config.app for each in c.cluster.tier_instances("web")]
    if not bad["rolled_back"] or running != ["hunted1:app"] * 3:
        return f"a bad version stays: {bad['why']} {running}"
    good = await done(c, "deploy", "web", app="hunted3:app", canary_ratio=0.3, watch_s=15.0)
    if good["rolled_back"]:
        return f"a good version is taken back: {good['why']}"
    await done(c, "deploy", "db")
    if refused:
        return f"writes were without an answer for {max(refused):.1f} s"
    codes = (await c.finish())["errors_by_code"]
    cut = {code: count for code, count in codes.items() if code not in ("http_500", "internal")}
    return f"users were cut off: {cut}" if cut else ""


async def _write_on(c: emu.Scenario, refused: list[float]) -> None:
    """Notes how long writes had no answer, where that is longer than a switchover."""
    since_s = c.now_s
    for value in range(10_000):
        try:
            await c.sql("db", f"INSERT INTO t VALUES ({value})")
        except (RpcError, ValueError):
            await c.sleep(0.05)
            continue
        if c.now_s - since_s > MOST_GAP_S:
            refused.append(c.now_s - since_s)
        since_s = c.now_s
        await c.sleep(0.05)


def deploys_under(seed: int, folder: Path) -> str:
    with _versions(folder / str(seed)) as path:
        try:
            return emu.run(_deployed, loads(SITE, path=path), seed=seed)
        except (RpcError, ValueError, AssertionError) as error:
            return repr(error)


class _versions:
    """Their files, and nothing of them in memory before or after."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Path:
        self._folder.mkdir(exist_ok=True)
        for name, every in VERSIONS.items():
            (self._folder / f"{name}.py").write_text(APP.format(every=every))
        return self._folder / "hunted.yaml"

    def __exit__(self, *error: object) -> None:
        for name in VERSIONS:
            sys.modules.pop(name, None)


UNDER: Final = {ALERTS: alerts_under, BACKUPS: backups_under, DEPLOYS: deploys_under}
SAMPLE = (
    "an alert fires at once, whatever its `for`",
    "a restore leaves one member's disk as it was",
)
"""What CI looks for."""


def hunt_of(bug: OperationsBug) -> Script:
    if bug.hunt == ALERTS:
        need("promtool")

    def anomaly(seed: int) -> str:
        with TemporaryDirectory() as folder:
            Path(folder, str(seed)).mkdir()
            return UNDER[bug.hunt](seed, Path(folder))

    return Script(anomaly)


ROOM = Room(
    "operations",
    among(BUGS, SAMPLE),
    lambda bug: [hunt_of(bug)],
)


@each_of(ROOM.bugs)
def test_a_planted_bug_of_operations_is_found(bug: OperationsBug) -> None:
    look_again(ROOM, bug)


@pytest.mark.soak
@each_of(BUGS)
def test_a_planted_bug_of_operations_is_found_within_200_seeds(bug: OperationsBug) -> None:
    seed = first_found(bug.plant, hunt_of(bug).anomaly, range(1, MOST_SEEDS + 1))
    print(f"seed {seed}: {bug.sentence}")
    assert seed is not None


def test_the_bugs_are_many() -> None:
    assert len({each.sentence for each in BUGS}) == len(BUGS) >= 10


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 201))
def test_the_true_code_gives_no_alarm(seed: int, tmp_path: Path) -> None:
    assert backups_under(seed, tmp_path) == ""
    assert deploys_under(seed, tmp_path) == ""
