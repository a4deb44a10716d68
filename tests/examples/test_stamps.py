"""A kind from outside brings an operation with progress, a fault, a workload and its own model: emu
offers them on the command line, in YAML, in Python and in simulations, and knows none of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import emu
from emu import extensions
from emu.checks import registry
from emu.model import kinds
from emu.model.problems import TopologyError
from emu.model.topology import Topology
from emu.observe.sampling import Sampler
from emu.observe.status import status
from emu.running.targets import TargetError
from emu.seeds import swarm
from emu.topology.loading import load
from protocols.errors import RpcError
from tests.cli import running
from tests.cli.conftest import Verb
from tests.cli.running import Up

FOLDER = Path(__file__).parent / "stamps"
STAMPS, STUCK = FOLDER / "stamps.yaml", FOLDER / "stuck.yaml"


# --- YAML and simulations -------------------------------------------------------------------------


def sim(tmp_path: Path, file: Path, *words: str) -> tuple[int, dict[str, Any]]:
    asked = ("sim", str(file), "--for", "3s", "--jobs", "1", "--no-shrink", "--json", *words)
    done = running.emu(tmp_path / "state", *asked)
    return done.exit_code, json.loads(done.stdout)


def test_its_operation_stands_in_a_file_and_the_history_is_judged_by_its_model(
    tmp_path: Path,
) -> None:
    histories = str(tmp_path / "histories")
    words = ("--seeds", "3", "--faults", "timeline", "--history", histories)
    code, told = sim(tmp_path, STAMPS, *words)
    assert (code, told["failed"]) == (0, [])
    assert (Path(histories) / "seed-1" / "numbers.jsonl").stat().st_size > 0


def test_its_fault_stands_in_a_file_and_its_model_finds_what_it_does(tmp_path: Path) -> None:
    code, told = sim(tmp_path, STUCK, "--seed", "1", "--faults", "timeline")
    (failed,) = told["failed"]
    assert (code, failed["kind"]) == (4, "numbers")
    assert "was handed out twice" in failed["anomaly"] and len(failed["operations"]) == 2


def test_the_swarm_draws_both_and_only_where_there_is_such_a_machine() -> None:
    def drawn(topology: Any) -> set[str]:
        return {item.fault.verb for seed in range(30) for item in swarm.draw(topology, seed, 60.0)}

    assert {"burn", "stick", "kill"} <= drawn(load(STAMPS))
    assert not {"burn", "stick"} & drawn(load("topologies/04-load-balancer.yaml"))


def test_a_word_that_only_another_kind_brings_is_a_mistake_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "web.yaml"
    file.write_text("tiers: {web: {kind: web}}\nfaults: [{at: 1s, burn: web}]\n")
    with pytest.raises(TopologyError, match="unknown verb `burn`"):
        load(file)


# --- Python ---------------------------------------------------------------------------------------


def test_a_script_begins_it_sees_how_far_it_is_and_has_its_result() -> None:
    async def script(c: emu.Scenario) -> tuple[Any, ...]:
        burning = await c.burn("machine", 5)
        await c.sleep(0.25)
        seen = burning.progress
        ended = await burning.ended()
        (record,) = c.cluster.timeline
        return seen, ended, record["verb"], c.cluster.active

    seen, ended, verb, active = emu.run(script, STAMPS)
    assert (seen.done, seen.of, seen.text, seen.over) == (2, 5, "burnt", False)
    assert ended == {"sheets": 5, "nodes": ["machine-1"]}
    assert (verb, active) == ("burn", {})


def test_its_fault_lasts_as_long_as_the_block_or_until_it_is_healed() -> None:
    async def script(c: emu.Scenario) -> None:
        take = partial(c.call, "machine", "take")
        async with await c.stick("machine"):
            assert await take() == await take()
        assert await take() != await take()
        await c.stick("machine", for_s=1.0)
        assert [each.fault.verb for each in c.cluster.active.values()] == ["stick"]
        await c.sleep(1.1)
        assert await take() != await take()
        await c.stick("machine")
        await c.kill("machine")  # it went with the process
        await c.heal()
        assert await take() != await take()

    emu.run(script, STAMPS)


def two_machines() -> Topology:
    return replace(load(STAMPS), faults=()).scaled("machine", 2)


def test_of_several_machines_the_progress_is_added_up_and_who_dies_is_left_out() -> None:
    async def script(c: emu.Scenario) -> tuple[Any, ...]:
        burning = await c.burn("machine", 5)
        await c.sleep(0.25)
        both = burning.progress
        await c.kill("machine-1")
        one = await burning.ended()
        burning = await c.burn("machine-2", 5)
        await c.sleep(0.25)
        await c.pause("machine-2", for_s=7.0)  # longer than an answer may take
        paused = await burning.ended()
        burning = await c.burn("machine-2", 50)
        await c.sleep(0.25)
        await c.kill("machine-2")
        with pytest.raises(RpcError):
            await burning.ended()
        assert c.events("burn not done", target="machine-2")
        return both, one, paused

    both, one, paused = emu.run(script, two_machines())
    assert (both.done, both.of, both.text, both.over) == (4, 10, "burnt", False)
    assert one == {"sheets": 5, "nodes": ["machine-1", "machine-2"]}
    assert paused == {"sheets": 5, "nodes": ["machine-2"]}


def test_where_one_machine_refuses_a_fault_none_is_left_with_it() -> None:
    async def script(c: emu.Scenario) -> None:
        await c.kill("machine-2")
        with pytest.raises(RpcError):
            await c.stick("machine")
        first, second = [await c.call("machine-1", "take") for _ in range(2)]
        assert first != second and not [
            each for each in c.cluster.active.values() if each.fault.verb == "stick"
        ]

    emu.run(script, two_machines())


def test_what_it_cannot_be_done_to_is_said() -> None:
    async def script(c: emu.Scenario) -> None:
        with pytest.raises(TargetError, match="`load` is no stamp machine; there is: machine"):
            await c.stick("load")
        burning = await c.burn("load")
        with pytest.raises(TargetError, match="is no stamp machine"):
            await burning.ended()
        await c.kill("machine")
        with pytest.raises(RpcError):
            await c.stick("machine")
        with pytest.raises(AttributeError, match=r"no `brn`; did you mean `burn`\?"):
            await c.brn("machine")

    emu.run(script, STAMPS)


# --- the page ---------------------------------------------------------------------------------


def test_the_page_shows_how_far_it_is_and_offers_both() -> None:
    async def script(c: emu.Scenario) -> tuple[Any, ...]:
        sampler = Sampler(c.cluster)
        await c.burn("machine", 5)
        await c.sleep(0.25)
        seen = status(c.cluster, sampler)
        await c.sleep(1)
        return seen["under_way"], seen["offered"], status(c.cluster, sampler)["under_way"]

    during, offered, after = emu.run(script, STAMPS)
    assert during == [{"text": "burn machine", "done": 2, "of": 5, "told": "burnt"}]
    assert after == []
    assert [(each["order"], each["lasts"]) for each in offered] == [
        ({"verb": "burn", "target": "machine"}, False),
        ({"verb": "stick", "target": "machine"}, True),
    ]


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Verb]:
    """`machine(words...)`: a verb on a running stamp machine."""
    folder = tmp_path_factory.mktemp("stamps")
    up = Up(folder / "state", str(STAMPS))
    up.wait_ready()
    yield partial(running.emu, up.state)
    assert up.end() == 130, up.said


@pytest.mark.slow
def test_a_running_cluster_has_the_verbs_of_its_kinds(machine: Verb) -> None:
    shown = machine("--help").stdout
    assert "Burn sheets of stamps" in shown and "The wheel sticks" in shown
    told = machine("burn", "--help").stdout
    assert all(option in told for option in ("--sheets", "How many.", "--dry-run", "--cancel"))
    assert "--for" in machine("stick", "--help").stdout
    assert machine("burn").exit_code == machine("burn", "machine", "--sheets", "x").exit_code == 2
    assert "is no stamp machine" in machine("burn", "load").stderr


@pytest.mark.slow
def test_the_command_waits_for_the_end_and_tells_the_result(machine: Verb) -> None:
    told = machine("burn", "machine", "--sheets", "2", "--json")
    assert json.loads(told.stdout) == {"sheets": 2, "nodes": ["machine-1"]}
    told = machine("burn", "machine", "--sheets", "1")
    assert told.stdout == "it would take 0.1 s\n1 sheets burnt at machine-1\n"
    assert "burnt" in told.stderr  # the bar
    assert machine("burn", "machine", "--dry-run").stdout == "it would take 0.3 s\n"
    assert json.loads(machine("burn", "machine", "--cancel", "--json").stdout) is False


@pytest.mark.slow
def test_its_fault_is_one_of_the_faults(machine: Verb) -> None:
    assert "stick machine: done" in machine("stick", "machine").stderr
    assert "stick machine" in machine("faults").stdout
    take = json.loads(machine("call", "machine", "take", "--json").stdout)
    assert take == json.loads(machine("call", "machine", "take", "--json").stdout)
    assert machine("heal").exit_code == 0
    assert take != json.loads(machine("call", "machine", "take", "--json").stdout)


# --- installed ------------------------------------------------------------------------------------


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As if a package had brought the kind by an entry point."""
    entry = EntryPoint("stamps", "tests.examples.stamps.stamps:STAMPS", "emu.kinds")
    forgotten = (kinds.known_kinds, registry.installed_models)
    monkeypatch.setattr(
        extensions, "entry_points", lambda group: [entry] if group == entry.group else []
    )
    for each in forgotten:
        each.cache_clear()
    yield
    for each in forgotten:
        each.cache_clear()


@pytest.mark.usefixtures("installed")
def test_an_installed_kind_has_a_word_and_its_verbs_and_model_are_known(
    tmp_path: Path,
) -> None:
    file = tmp_path / "installed.yaml"
    file.write_text(STUCK.read_text().replace('"stamps:STAMPS"', "stamps"))
    histories = tmp_path / "histories"
    words = ("--seed", "1", "--faults", "timeline", "--history", str(histories))
    assert sim(tmp_path, file, *words)[0] == 4
    ask = partial(running.emu, tmp_path / "state")
    assert "Burn sheets of stamps" in ask("burn", "--help").stdout
    judged = ask("check", str(histories / "seed-1" / "numbers.jsonl"), "-m", "numbers")
    assert judged.exit_code == 4 and "was handed out twice" in judged.stdout
    unknown = ask("check", str(histories / "seed-1" / "numbers.jsonl"), "-m", "digits")
    assert unknown.exit_code == 2 and "numbers" in unknown.stderr
