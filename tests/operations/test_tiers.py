"""Tiers that come and go by an operation: which shards a store has is said by its slot map, once it
is founded; the file only founds it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import state
from emu.model.topology import Topology, diff
from emu.operations.tiers import kept_lines, resizable, with_kept
from emu.running.targets import TargetError
from emu.scenario import Scenario, run
from emu.topology.loading import loads
from protocols.errors import RpcError
from tests.sim.resharding import reshard


def store(shards: int) -> Topology:
    return loads(f"tiers: {{kv: {{kind: kv, shards: {shards}, replicas: 1}}, web: {{kind: web}}}}")


def shard_names(count: int) -> list[str]:
    return [f"kv-shard-{number}" for number in range(1, count + 1)]


def test_the_shards_of_a_store_are_found_in_their_numbers_order() -> None:
    assert resizable(store(11)) == {"kv": shard_names(11)}


@pytest.mark.parametrize("running", [2, 3, 5])
def test_a_store_keeps_its_shards_when_its_file_is_applied(running: int) -> None:
    kept = with_kept(store(3), {"kv": shard_names(running), "gone": ["gone-shard-1"]})
    assert resizable(kept) == {"kv": shard_names(running)}
    moved = with_kept(store(running), {})
    assert not diff(moved, kept).removed and not diff(moved, kept).added
    assert bool(kept_lines(store(3), kept)) is (running != 3)


def test_a_file_that_names_no_store_any_more_takes_it_away() -> None:
    without = loads("tiers: {web: {kind: web}}")
    assert with_kept(without, resizable(store(3))) == without


def test_shards_are_remembered_with_the_disks_and_forgotten_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMU_STATE_DIR", str(tmp_path))
    folder = state.claim("store")
    assert folder.kept_tiers() == {}
    folder.keep_tiers({"kv": shard_names(4)})
    assert folder.kept_tiers() == {"kv": shard_names(4)}
    folder.wipe()
    assert folder.kept_tiers() == {}
    folder.release()


def test_to_scale_a_sharded_store_is_refused_with_what_to_do() -> None:
    async def script(c: Scenario) -> None:
        with pytest.raises(TargetError, match=r"name one of kv-shard-1.*or `reshard` the group"):
            await c.cluster.scale("kv", 4)

    run(script, store(1))


def test_nodes_that_came_for_a_refused_reshard_go_again() -> None:
    async def script(c: Scenario) -> None:
        before = list(c.cluster.instances)
        with pytest.raises(RpcError, match="partitioners: "):
            await reshard(c.cluster, "kv", 3, partitioner="dice")
            assert list(c.cluster.instances) == before
            assert resizable(c.cluster.topology) == {"kv": shard_names(1)}
        assert (await reshard(c.cluster, "kv", 2))["outcome"] == "done"

    run(script, store(1))
