"""What an operator does with backups, of every tier whose members keep one log together: `backup`
copies what is committed, while writes go on; `restore` makes the members' disks of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from nodes.operations import Console, Member, Operation
from nodes.replica.asking import ask_leader
from nodes.replica.backup import ARRANGEMENT, BACKUP, BACKUP_LOG, BACKUP_SNAPSHOT, NAMES, TIMES
from nodes.replica.recovering import RECOVER
from nodes.replica.recovery import STATE
from protocols.errors import RpcError
from protocols.replication import backup as format_of
from protocols.replication.backup import Backup, GroupAbout, GroupBackup, check, decode, encode
from protocols.replication.log import CorruptFile, Entry, read_records
from protocols.replication.storage import HardState

ATTEMPTS: Final = 5
"""A snapshot or a leader may be another in the middle of a copy: then it is made again."""
PATIENCE_S: Final = 60.0
"""How long a backup of several groups waits until what is moved between them is moved."""
PAUSE_S: Final = 0.5
BACKED_UP: Final = "backup made"
WAITS: Final = "backup waits"
RESTORED: Final = "backup restored"
EVENTS: Final = {
    BACKED_UP: "What a tier had committed was copied to a file.",
    WAITS: "What a tier's groups hold is being moved between them: it is copied afterwards.",
    RESTORED: "A tier's disks were made of a backup; what was there before is gone.",
}


@dataclass(frozen=True, slots=True)
class Back:
    """Copy what a tier has committed to a file, while writes go on: of each group its snapshot and
    its log, up to one LSN. Of a tier of several groups (shards) each has an LSN of its own, and
    none is copied while slots move between them: it waits for that, and is refused after 60 s."""

    verb: ClassVar[str] = "backup"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    file: str
    """Where to: `file: shop.backup`."""


@dataclass(frozen=True, slots=True)
class Restore:
    """Let a tier be as a backup has it, at its LSN or an earlier one: its members end, get disks
    made of it, and start. What they had is gone; writes of the meantime fail."""

    verb: ClassVar[str] = "restore"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    file: str
    """What `backup` wrote: `file: shop.backup`."""
    at: int = 0
    """The last LSN to keep, as `emu ps` shows them: `at: 1200`. The backup's own if not said."""
    time_s: float = 0.0
    """Instead of it, the last moment to keep, as events of the run that made the backup show times:
    `time: 41.5s`. Of writes within 0.05 s before it (more, long ago) it may keep none."""


# --- backup --------------------------------------------------------------------------------------


async def back_up(console: Console, word: Back) -> dict[str, Any]:
    """Raises RpcError, and ValueError where the file cannot be written."""
    groups = await _groups(console, word.tier)
    backup = Backup(word.tier, tuple(groups))
    data = encode(backup)
    console.save(word.file, data)
    told = {
        "tier": word.tier,
        "file": word.file,
        "bytes": len(data),
        "digest": backup.digest,
        "lsns": {each.tier: each.about.lsn for each in groups},
        "earliest_lsns": {each.tier: each.earliest_lsn for each in groups},
        "earliest_s": max(each.known_times[0][0] for each in groups),
    }
    console.tell(BACKED_UP, tier=word.tier, file=word.file, bytes=len(data))
    return told


async def _groups(console: Console, of: str) -> list[GroupBackup]:
    """Copies of all groups of a tier: nothing moved between them meanwhile. Raises RpcError."""
    until_s, told = console.now_s() + PATIENCE_S, False
    while True:
        tiers = console.tiers(of)
        before = await _arrangements(console, tiers)
        why = next((changing for _, changing in before if changing), "")
        if not why:
            groups = [await _copied(console, tier) for tier in tiers]
            if console.tiers(of) == tiers and await _arrangements(console, tiers) == before:
                return groups
            why = "a reshard began while it was copied"
        if console.now_s() >= until_s:
            what = f"{why}: copies of its groups would not fit each other"
            advice = "try again when it has ended, or cancel it"
            raise RpcError("refused", f"{of}: {what}; waited {PATIENCE_S:g} s: {advice}")
        if not told:
            told = True
            console.tell(WAITS, tier=of, why=why)
        await console.sleep(PAUSE_S)


async def _arrangements(console: Console, tiers: Sequence[str]) -> list[tuple[int, str]]:
    """What each group says of who has what; one alone has all."""
    found = []
    for tier in tiers if len(tiers) > 1 else ():
        _, (version, changing) = await ask_leader(
            console, tier, ARRANGEMENT, again=True, reads=True
        )
        found.append((int(version), str(changing)))
    return found


async def _copied(console: Console, tier: str) -> GroupBackup:
    """One group's part. Raises RpcError."""
    for _ in range(ATTEMPTS):
        name, wire = await ask_leader(console, tier, BACKUP, again=True, reads=True)
        about = GroupAbout.from_wire(wire)
        try:
            snapshot = await _snapshot(console, name, about)
            entries = await _entries(console, name, about)
            times = await _times(console, name, about)
        except RpcError as error:
            if error.code not in ("refused", "unavailable", "disconnected", "timeout"):
                raise
            last = error
            continue
        group = GroupBackup(tier, about, snapshot, tuple(entries), times)
        check(group)
        return group
    raise RpcError("unavailable", f"{tier} changed all the time while it was copied: {last}")


async def _snapshot(console: Console, name: str, about: GroupAbout) -> bytes:
    if about.snapshot is None:
        return b""
    data = b""
    _check_size(about.snapshot.size_bytes)
    while len(data) < about.snapshot.size_bytes:
        data += await console.ask(name, BACKUP_SNAPSHOT, about.snapshot.lsn, len(data))
    return data


async def _entries(console: Console, name: str, about: GroupAbout) -> list[Entry]:
    entries: list[Entry] = []
    size_bytes = 0
    while about.first_lsn + len(entries) <= about.lsn:
        next_lsn = about.first_lsn + len(entries)
        data = await console.ask(name, BACKUP_LOG, next_lsn, about.lsn)
        found, _ = read_records(data)
        size_bytes += len(data)
        _check_size(size_bytes)
        if not found:
            raise RpcError("refused", f"{name} gave no record {next_lsn}")
        entries += found
    return entries


async def _times(console: Console, name: str, about: GroupAbout) -> tuple[tuple[float, int], ...]:
    ages = await console.ask(name, TIMES, about.lsn)
    now_s = console.now_s()
    return (*((now_s - float(age_s), int(lsn)) for age_s, lsn in ages), (now_s, about.lsn))


def _check_size(size_bytes: int) -> None:
    if size_bytes > format_of.MAX_BYTES:
        most = f"{format_of.MAX_BYTES >> 20} MB"
        raise RpcError("too_large", f"{size_bytes >> 20} MB: a backup holds at most {most}")


# --- restore -------------------------------------------------------------------------------------


async def restore(console: Console, word: Restore) -> dict[str, Any]:
    """Raises RpcError, and ValueError where the file is none, damaged, or of another tier."""
    try:
        backup = decode(console.load(word.file))
    except CorruptFile as error:
        raise ValueError(f"{word.file}: {error}") from error
    tiers = console.tiers(word.tier)
    _check_fits(console, word, backup, tiers)
    disks: dict[str, Mapping[str, bytes]] = {}
    lsns, left_out = {}, {}
    for group in backup.groups:
        lsn = _lsn_wanted(word, group)
        members = await console.members(group.tier)
        epoch = max((_epoch_of(console, each) for each in members), default=0)
        files = format_of.image(group, lsn, epoch, NAMES)
        disks |= dict.fromkeys([each.name for each in members], files)
        lsns[group.tier], left_out[group.tier] = lsn, group.about.lsn - lsn
    await console.reinstall(disks)
    for group in backup.groups:
        await _verify(console, group, lsns[group.tier])
    told = {
        "tier": word.tier,
        "file": word.file,
        "digest": backup.digest,
        "lsns": lsns,
        "left_out": left_out,
    }
    console.tell(RESTORED, tier=word.tier, file=word.file)
    return told


def _lsn_wanted(word: Restore, group: GroupBackup) -> int:
    """Raises ValueError."""
    if word.at and word.time_s:
        raise ValueError("`at` and `time` both say what to go back to: leave one out")
    return group.lsn_at(word.time_s) if word.time_s else word.at or group.about.lsn


def _epoch_of(console: Console, member: Member) -> int:
    """The last that it has seen: its disk has it before anybody hears of it, and what it says of
    itself counts, too, where its disk is elsewhere. Raises RpcError where nobody knows."""
    name, told = member.name, int(member.facts.get("epoch") or 0)
    try:
        if STATE not in console.disk_names(name):
            return told
        return max(told, HardState.decode(console.disk_file(name, STATE)).epoch)
    except CorruptFile:
        return told  # what it had seen is gone with it
    except (OSError, ValueError) as error:
        if told:
            return told
        why = "and it says nothing of itself: start it before the restore"
        raise RpcError("refused", f"{name}: its disk cannot be read ({error}), {why}") from error


def _check_fits(console: Console, word: Restore, backup: Backup, tiers: Sequence[str]) -> None:
    """Raises ValueError."""
    had = [each.tier for each in backup.groups]
    if had != list(tiers):
        there, theirs = ", ".join(tiers), ", ".join(had)
        raise ValueError(f"{word.file} has {theirs}, and `{word.tier}` are {there}")
    if (word.at or word.time_s) and len(had) > 1:
        why = f"of one group, and {word.file} has {len(had)}, between which keys may have moved"
        raise ValueError(f"`at` and `time` are {why}")
    for group in backup.groups:
        names = [each.name for each in console.seen(group.tier)]
        gone = [name for name in group.about.members if name not in names]
        if len(gone) * 2 >= len(group.about.members):
            why = f"of its members {', '.join(gone)} there is none here"
            raise ValueError(f"{word.file}: {group.tier}: {why}: they could not elect")


async def _verify(console: Console, group: GroupBackup, lsn: int) -> None:
    """What the group has now is what the backup has. Raises RpcError."""
    name, wire = await ask_leader(console, group.tier, BACKUP, again=True, reads=True)
    about = GroupAbout.from_wire(wire)
    first_lsn = max(about.first_lsn, group.about.first_lsn)
    here = about.__class__(lsn, 0, 0, (), "", about.snapshot)
    entries = await _entries(console, name, here) if first_lsn <= lsn else []
    wanted = [each for each in group.entries if first_lsn <= each[1] <= lsn]
    if [each for each in entries if each[1] >= first_lsn] != wanted:
        raise RpcError("internal", f"{group.tier} has other records than the backup up to {lsn}")


# --- how it reads --------------------------------------------------------------------------------


def _backed_up(told: Mapping[str, Any]) -> str:
    lsns = ", ".join(f"{tier} at LSN {lsn}" for tier, lsn in told["lsns"].items())
    back = ", ".join(f"{lsn}" for lsn in told["earliest_lsns"].values())
    again = f"`emu restore {told['tier']} --file {told['file']}` brings it back"
    held = f"{told['bytes']:,} bytes, sha256 {told['digest'][:16]}"
    since = f"`--time` from {told['earliest_s']:.1f}s on"
    return f"{told['file']}: {lsns}; {held}\n{again}, `--at` any LSN from {back} on, {since}"


def _restored(told: Mapping[str, Any]) -> str:
    lsns = ", ".join(f"{tier} at LSN {lsn}" for tier, lsn in told["lsns"].items())
    beyond = sum(told["left_out"].values())
    left = f"; {beyond} records of the backup are beyond it" if beyond else ""
    return f"{lsns}, as {told['file']} has it{left}"


BACKUP_OF: Final = Operation(
    Back, "tier that keeps a replicated log", run=back_up, shown=_backed_up,
    example="backup db --file shop.backup",
)  # fmt: skip
RESTORE: Final = Operation(
    Restore, "tier that keeps a replicated log", run=restore, shown=_restored,
    example="restore db --file shop.backup",
)  # fmt: skip
OPERATIONS: Final = (BACKUP_OF, RESTORE, RECOVER)
