"""Bugs of alerts, backups and deploys, as somebody might have written them, each under its hunt,
which must find it. What the hunts do is test_planted_operations.py's: none knows a bug.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, NamedTuple

from emu.alerts import evaluating, series, states
from emu.operations.console import ClusterConsole
from nodes.parts import canary, deploying
from nodes.replica import backing_up
from nodes.replica.backup import BackupSource
from protocols.replication import backup as format_of
from protocols.replication.backup import GroupAbout
from tests.planting import Plant, Swap, listed

ALERTS, BACKUPS, DEPLOYS = "alerts", "backups", "deploys"


class OperationsBug(NamedTuple):
    sentence: str
    plant: Plant
    hunt: str


BUGS: Final[list[OperationsBug]] = []


def bug(hunt: str) -> Callable[[Plant], Plant]:
    """List the function under its docstring."""
    return listed(BUGS, OperationsBug, hunt)


# --- alerts --------------------------------------------------------------------------------------


@bug(ALERTS)
def _for_ignored(swap: Swap) -> None:
    """an alert fires at once, whatever its `for`"""
    true = states.Alerts._judge

    def judge(self: Any, place: int, rule: Any, found: Any, now_s: float) -> Any:
        quick = replace(rule, for_s=0.0)
        return true(self, place, quick, found, now_s)

    swap.setattr(states.Alerts, "_judge", judge)


@bug(ALERTS)
def _ends_not_seen(swap: Swap) -> None:
    """a series that a target no longer tells goes on with its last value"""
    true = series.Store._add

    def add(self: Any, metric: str, labels: Any, point: Any) -> None:
        if point[1] is not None:
            true(self, metric, labels, point)

    swap.setattr(series.Store, "_add", add)


@bug(ALERTS)
def _restart_is_shrinking(swap: Swap) -> None:
    """a counter that began again from 0 counts as one that shrank"""
    true = evaluating.increase

    def increase(samples: Any, since_s: float, now_s: float) -> float:
        return true([samples[0], samples[-1]], since_s, now_s)

    swap.setattr(evaluating, "increase", increase)


@bug(ALERTS)
def _labels_not_matched(swap: Swap) -> None:
    """`and` takes any series of the other side for a match"""
    true = evaluating._binary

    def binary(tree: Any, left: Any, right: Any) -> Any:
        if tree.operator == "and" and right:
            return left
        return true(tree, left, right)

    swap.setattr(evaluating, "_binary", binary)


# --- backups -------------------------------------------------------------------------------------


@bug(BACKUPS)
def _not_at_one_lsn(swap: Swap) -> None:
    """the log of a backup goes on to whatever is there when it is copied, not to its LSN"""
    true = BackupSource._log

    async def log(self: Any, call: Any, from_lsn: int, to_lsn: int) -> bytes:
        return await true(self, call, from_lsn, self._driver.storage.last_lsn)

    swap.setattr(BackupSource, "_log", log)


@bug(BACKUPS)
def _uncommitted_too(swap: Swap) -> None:
    """a backup says that it has records which its primary had not yet"""
    true = BackupSource._about

    def about(self: Any, call: Any) -> Any:
        found = GroupAbout.from_wire(true(self, call))
        return [found.lsn + 3, *found.to_wire()[1:]]

    swap.setattr(BackupSource, "_about", about)


@bug(BACKUPS)
def _first_record_lost(swap: Swap) -> None:
    """the first record behind a snapshot is not restored"""
    true = format_of.image

    def image(group: Any, lsn: int, epoch: int, names: Any) -> Any:
        files = true(group, lsn, epoch, names)
        kept = [each for each in group.entries[1:] if each[1] <= lsn]
        if group.about.snapshot is not None and kept:
            del files[names.segment(group.entries[0][1])]
            files[names.segment(kept[0][1])] = format_of.log.encode_batch(kept)
        return files

    swap.setattr(backing_up.format_of, "image", image)


@bug(BACKUPS)
def _point_ignored(swap: Swap) -> None:
    """`--at` is taken, and all of the backup is restored"""
    true = format_of.image
    swap.setattr(
        backing_up.format_of,
        "image",
        lambda group, lsn, epoch, names: true(group, group.about.lsn, epoch, names),
    )
    swap.setattr(backing_up, "_verify", _nothing)


async def _nothing(*_: Any) -> None:
    return None


@bug(BACKUPS)
def _one_disk_left(swap: Swap) -> None:
    """a restore leaves one member's disk as it was"""
    true = ClusterConsole.reinstall

    async def reinstall(self: Any, disks: Any) -> None:
        await true(self, dict(list(disks.items())[1:]))

    swap.setattr(ClusterConsole, "reinstall", reinstall)


# --- deploys -------------------------------------------------------------------------------------


@bug(DEPLOYS)
def _compared_with_itself(swap: Swap) -> None:
    """a canary is compared with itself"""
    true = canary.worse
    swap.setattr(deploying, "worse", lambda old, new: true(new, new))


@bug(DEPLOYS)
def _left_as_it_is(swap: Swap) -> None:
    """a version that is worse is told, and stays"""
    true = deploying._replace

    async def replace(console: Any, tier: str, names: Any, changes: Any) -> None:
        if changes or tier != "web":
            await true(console, tier, names, changes)

    swap.setattr(deploying, "_replace", replace)


@bug(DEPLOYS)
def _any_error_is_too_many(swap: Swap) -> None:
    """a canary is taken back for one error, which the old version has as often"""
    swap.setattr(deploying, "worse", lambda old, new: "an error" if new.errors else "")


@bug(DEPLOYS)
def _drain_skipped(swap: Swap) -> None:
    """members are killed, not drained"""

    async def replace(self: Any, name: str, config: Any) -> None:
        self.kill(name)
        await self.start(name)

    swap.setattr(deploying_cluster(), "replace", replace)


def deploying_cluster() -> Any:
    from emu.running.supervisor import Cluster

    return Cluster
