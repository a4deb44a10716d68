"""`emu recover`: the records that an old primary had alone, which it saved when it came back: what
each is, what became of it since, and making chosen ones again.

Any replicated tier shows them; to make them again is the family's: its leader is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from nodes.operations import Console, Operation
from nodes.replica.asking import ask_leader
from nodes.replica.files import DIVERGENT
from protocols.errors import RpcError

REHEARSE: Final = "rehearse_again"
"""`[[[name, record], ...]]` → what would come of each, one after the other (`comes_to`)."""
MAKE_AGAIN: Final = "make_again"
"""`[name, record]` → what came of it. The same name again does nothing."""
MAX_FILE_BYTES: Final = 64 << 20
MAX_RECORDS: Final = 1000
"""Of which is told, and which are made again, at a time."""
BATCH_BYTES: Final = 256 << 10
BATCH_RECORDS: Final = 50
"""Of records that are asked about at once: others have their turn between."""
SHORT_CHARS: Final = 100
LOST, THERE, CONFLICTS, UNKNOWN, MADE = "lost", "there", "conflicts", "unknown", "made again"
ALL: Final = "all"
RECOVERED: Final = "records made again"
EVENTS: Final = {
    RECOVERED: "Records that only an old primary had, and a failover lost, were written again."
}


@dataclass(frozen=True, slots=True)
class Recover:
    """Show what a failover lost: the records that an old primary had alone, and saved when it came
    back; and write those again that are chosen. None overwrites what was written since."""

    verb: ClassVar[str] = "recover"
    main: ClassVar[str] = "tier"
    breaks: ClassVar[bool] = False
    tier: str
    apply: str = ""
    """Which of them to write again, by their LSNs: `apply: 118,120-125`, or `all`. It ends at the
    first that conflicts, unless each is named by itself."""
    epoch: int = 0
    """Only those of that epoch: `epoch: 2`."""


@dataclass(slots=True)
class Saved:
    """One record, and who has it."""

    tier: str
    epoch: int
    lsn: int
    record: Any
    """As its family describes it."""
    payload: bytes | None
    """None: an earlier emu saved it, in words only."""
    members: list[str]
    state: str = UNKNOWN
    why: str = ""

    @property
    def name(self) -> str:
        """The same for all who have it: in an epoch only one writes."""
        return f"recovered/{self.tier}/{self.epoch}/{self.lsn}"

    @property
    def text(self) -> str:
        words = self.record.get("text") if isinstance(self.record, dict) else None
        return words if isinstance(words, str) else json.dumps(self.record, default=repr)

    def to_json(self) -> dict[str, Any]:
        return {
            "tier": self.tier,
            "epoch": self.epoch,
            "lsn": self.lsn,
            "members": self.members,
            "record": self.record,
            "text": self.text,
            "state": self.state,
            "why": self.why,
        }


def comes_to(transactions: int, there: int, refused: Sequence[str]) -> list[Any]:
    """How a family answers of a record: a state, why, and how many of its transactions are (or
    would be) written."""
    made = transactions - there - len(refused)
    if refused:
        return [CONFLICTS, refused[0], made]
    return [THERE if there == transactions else LOST, "", made]


async def recover(console: Console, word: Recover) -> dict[str, Any]:
    """Raises RpcError, and ValueError for records that are not there."""
    found = [each for tier in console.tiers(word.tier) for each in _saved(console, tier)]
    if word.epoch:
        found = [each for each in found if each.epoch == word.epoch]
    chosen = _chosen(found, word.apply)
    if len(chosen) > MAX_RECORDS:
        most = f"at most {MAX_RECORDS} at a time; name some of them by `--apply FIRST-LAST`"
        raise ValueError(f"{len(chosen)} records: {most}")
    shown = chosen or found[:MAX_RECORDS]
    await _look(console, shown)
    _check_can_be_made(chosen)
    made = 0
    try:
        for each in chosen:
            if each.state != THERE:
                made += await _make_again(console, each)
            if each.state == CONFLICTS and not _named_singly(word.apply):
                break  # what follows may rest on it
    finally:
        if made:
            console.tell(RECOVERED, tier=word.tier, transactions=made)
    return {
        "tier": word.tier,
        "made": made,
        "chosen": len(chosen),
        "found": len(found),
        "records": [each.to_json() for each in shown],
    }


def _check_can_be_made(chosen: Iterable[Saved]) -> None:
    """All of them, before the first is written. Raises ValueError."""
    for each in chosen:
        if each.payload is None or each.state == UNKNOWN:
            why = each.why or "an earlier emu saved it, in words only"
            raise ValueError(f"{each.tier}: LSN {each.lsn} cannot be written again: {why}")


def _named_singly(apply: str) -> bool:
    return apply != ALL and all(first == last for first, last in _spans(apply))


# --- what was saved ------------------------------------------------------------------------------


def _saved(console: Console, tier: str) -> list[Saved]:
    """Of all members' disks, whether they run or not; each record once, in the log's order."""
    found: dict[tuple[int, int], Saved] = {}
    for member in console.seen(tier):
        for name in console.disk_names(member.name):
            if not (name.startswith(DIVERGENT) and name.endswith(".jsonl")):
                continue
            for epoch, lsn, record, payload in _lines(console, member.name, name):
                made = Saved(tier, epoch, lsn, record, payload, [])
                found.setdefault((epoch, lsn), made).members.append(member.name)
    return [found[key] for key in sorted(found)]


def _lines(
    console: Console, member: str, name: str
) -> Iterator[tuple[int, int, Any, bytes | None]]:
    """Raises ValueError."""
    try:
        data = console.disk_file(member, name)
        if len(data) > MAX_FILE_BYTES:
            raise ValueError(f"{len(data) >> 20} MB, over {MAX_FILE_BYTES >> 20}")
        for line in data.splitlines():
            value = json.loads(line)
            if value["record"] is not None:  # else it is the group's own: an election, a member
                payload = bytes.fromhex(value["data"]) if "data" in value else None
                yield int(value["epoch"]), int(value["lsn"]), value["record"], payload
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{member}: {name} cannot be read: {error}") from error


def _chosen(found: Sequence[Saved], apply: str) -> list[Saved]:
    """Raises ValueError."""
    if not apply:
        return []
    if apply == ALL:
        return list(found)
    chosen: dict[int, Saved] = {}
    for first, last in _spans(apply):
        meant = [each for each in found if first <= each.lsn <= last]
        if not meant:
            said = f"{first}" if first == last else f"{first}-{last}"
            raise ValueError(f"no record with LSN {said} was saved: `emu recover` shows them")
        chosen |= {id(each): each for each in meant}
    picked = [each for each in found if id(each) in chosen]
    epochs: dict[tuple[str, int], int] = {}
    for each in picked:
        other = epochs.setdefault((each.tier, each.lsn), each.epoch)
        if other != each.epoch:
            which = f"of epoch {other} and of epoch {each.epoch}: add `--epoch`"
            raise ValueError(f"there are two records with LSN {each.lsn}, {which}")
    return picked


def _spans(apply: str) -> Iterator[tuple[int, int]]:
    for part in apply.split(","):
        first, _, last = part.strip().partition("-")
        try:
            yield int(first), int(last or first)
        except ValueError:
            told = "`all`, or LSNs such as `118,120-125`"
            raise ValueError(f"`apply` is {told}, not `{part.strip()[:40]}`") from None


# --- what becomes of it --------------------------------------------------------------------------


async def _look(console: Console, found: Iterable[Saved]) -> None:
    """Ask each group's leader what would come of its records. Raises RpcError."""
    for batch in _batches([each for each in found if each.payload is not None]):
        records = [[each.name, each.payload] for each in batch]
        try:
            asked = ask_leader(console, batch[0].tier, REHEARSE, records, again=True, reads=True)
            _, answers = await asked
        except RpcError as error:
            if error.code != "no_such_method":
                raise
            answers = [[UNKNOWN, "records of such a tier are only shown"] for _ in batch]
        for each, (state, why, *_) in zip(batch, answers, strict=True):
            each.state, each.why = str(state), str(why)


def _batches(found: Sequence[Saved]) -> Iterator[list[Saved]]:
    batch: list[Saved] = []
    size_bytes = 0
    for each in found:
        length = len(each.payload or b"")
        full = len(batch) >= BATCH_RECORDS or size_bytes + length > BATCH_BYTES
        if batch and (full or each.tier != batch[0].tier):
            yield batch
            batch, size_bytes = [], 0
        batch.append(each)
        size_bytes += length
    if batch:
        yield batch


async def _make_again(console: Console, saved: Saved) -> int:
    """How many of its transactions were written. Raises RpcError."""
    asked = ask_leader(console, saved.tier, MAKE_AGAIN, saved.name, saved.payload, again=True)
    _, (state, why, made) = await asked
    saved.state, saved.why = (MADE if state == LOST else str(state)), str(why)
    if state == CONFLICTS and made:
        saved.why = f"{made} of its transactions written; {why}"
    return int(made)


# --- how it reads --------------------------------------------------------------------------------


def _shown(told: Mapping[str, Any]) -> str:
    records = told["records"]
    if not records:
        return f"no member of {told['tier']} has saved a record that its group lacks"
    lines = [_line(each) for each in records]
    more = told["found"] - len(records)
    lines += [f"... and {more} more"] if more else []
    lost = sum(each["state"] == LOST for each in records)
    members = ", ".join(dict.fromkeys(name for each in records for name in each["members"]))
    lines.append(f"saved by {members}; {told['made']} written again, {lost} still lost")
    if lost and not told["made"]:
        first = next(each["lsn"] for each in records if each["state"] == LOST)
        again = f"`emu recover {told['tier']} --apply all`"
        lines.append(f"{again} writes them again; `--apply {first}` that one")
    return "\n".join(lines)


def _line(record: Mapping[str, Any]) -> str:
    why = f"  ({record['why']})" if record["why"] else ""
    where = f"{record['lsn']:>8}  epoch {record['epoch']}"
    return f"{where}  {record['state']:<10}  {record['text'][:SHORT_CHARS]}{why}"


RECOVER: Final = Operation(
    Recover, "tier that keeps a replicated log", run=recover, shown=_shown,
    example="recover db --apply all",
)  # fmt: skip
