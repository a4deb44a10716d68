"""When a cluster that was just started serves as it will: groups whose disks were kept have to
elect somebody, and to replay what they had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from emu.running.asking import ask_each
from emu.running.leaders import leaderless
from emu.running.supervisor import Cluster
from protocols.control import DESCRIBE

ELECTION_S: Final = 5.0
REPLAY_S: Final = 10.0
"""The longest waits: who cannot elect, or has that much to replay, does so while others are up."""
PAUSE_S: Final = 0.02


async def until_they_serve(cluster: Cluster) -> None:
    """Groups whose disks were kept elect, if they can, and replay: as long as they do, nobody can
    tell how quick anything is."""
    await _until_led(cluster)
    await _until_replayed(cluster)


async def _until_led(cluster: Cluster) -> None:
    with cluster.operator.move_on_after(ELECTION_S):
        await cluster.refresh_roles()
        while leaderless(cluster.topology, cluster.instances):
            await cluster.operator.sleep(PAUSE_S)
            await cluster.refresh_roles()


async def _until_replayed(cluster: Cluster) -> None:
    with cluster.operator.move_on_after(REPLAY_S):
        ends = await _behind(cluster, {})
        while ends:
            await cluster.operator.sleep(PAUSE_S)
            ends = await _behind(cluster, ends)


async def _behind(cluster: Cluster, ends: Mapping[str, int]) -> dict[str, int]:
    """Whose state lacks what their log had when they were first asked, and where that ended
    (`ends`; empty: this is the first time)."""
    replays = {
        name: each.placement.kind.leader.replays
        for name, each in cluster.instances.items()
        if each.placement.kind.leader is not None and each.running and (not ends or name in ends)
    }
    asked = [name for name, (applied, _) in replays.items() if applied]
    answers = await ask_each(asked, lambda name: cluster.call_admin(name, DESCRIBE))
    found = {}
    for name, answer in answers.items():
        applied, last = replays[name]
        if isinstance(answer, dict) and last in answer:
            end = ends.get(name, int(answer[last]))
            if answer[applied] < end:
                found[name] = end
    return found
