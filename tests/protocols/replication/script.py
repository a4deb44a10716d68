"""Plays a transcript: one command at a time against real cores, each effect told in one line.

Nothing is random and nothing happens by itself: time passes, messages arrive and disks sync when
the transcript says so. `settle` does what is left, in a fixed order, until nothing is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from protocols.replication import replica as replication
from protocols.replication.messages import (
    Append,
    AppendReply,
    HandOver,
    SnapshotChunk,
    SnapshotReply,
    StaleEpoch,
    VoteReply,
    VoteRequest,
)
from protocols.replication.replica import (
    DATA,
    EPOCH_START,
    LEARNER,
    MEMBERS,
    VOTER,
    WITNESS,
    AckRule,
    Admitted,
    Diverged,
    Entry,
    GroupConfig,
    HardState,
    MemoryLog,
    Message,
    PrimaryRefused,
    Ready,
    Refused,
    Replica,
    RoleChanged,
    SwitchoverEnded,
)

KINDS = {DATA: "", EPOCH_START: " epoch-start", MEMBERS: " members"}
ROLES = {"voter": VOTER, "learner": LEARNER, "witness": WITNESS, "out": None}
MAX_ROUNDS = 100


class EvenRng:
    """Each member waits its own, fixed part of the jitter: the first of the group is the first."""

    def __init__(self, share: float) -> None:
        self.share = share

    def random(self) -> float:
        return self.share


class Member:
    """A core, and what its disk holds."""

    def __init__(self, config: GroupConfig, founders: Any, rng: EvenRng) -> None:
        self.config, self.founders, self.rng = config, founders, rng
        self.state, self.snapshot = HardState(), None
        self.data = self.incoming = b""
        """What is in the snapshot, and in one that is on its way here."""
        self.log: list[Entry] = []
        self.durable = 0
        self.up = False

    def boot(self, now_s: float) -> None:
        self.up, self.durable, self.mark = True, len(self.log), 0
        storage = MemoryLog(self.log, self.snapshot)
        self.core = Replica(self.config, storage, self.state, self.founders, self.rng, now_s)


class Script:
    """One group. `do(line)` gives the lines that the command produced."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.members: dict[str, Member] = {}
        self.sent: list[Message] = []
        self.cuts: set[tuple[str, str]] = set()
        self.out: list[str] = []

    def do(self, line: str) -> list[str]:
        self.out = []
        word, *rest = line.split()
        command: Callable[..., None] = getattr(self, f"do_{word.replace('-', '_')}")
        try:
            command(*rest)
        except Refused as error:
            self.out.append(f"refused: {error}")
        return self.out or ["nothing"]

    # --- commands ----------------------------------------------------------------------------

    def do_group(self, *words: str) -> None:
        options = dict(word.split("=", 1) for word in words if "=" in word)
        names = [word for word in words if "=" not in word]
        witness = options.get("witness", "")
        spares = options.get("spares", "").split(",") if "spares" in options else []
        founders = [(name, VOTER) for name in names] + [(witness, WITNESS)] * bool(witness)
        everybody = [*(name for name, _ in founders), *spares]
        for place, name in enumerate(everybody):
            config = GroupConfig(
                name=name,
                witness=name == witness,
                ack=AckRule.parse(options.get("ack", "quorum").replace("_", " ")),
                retained_bytes=int(options.get("retained", 1 << 20)),
            )
            joined = () if name in spares else tuple(founders)
            rng = EvenRng((place + 1) / (len(everybody) + 1))
            self.members[name] = Member(config, joined, rng)
        for name in everybody:
            self.start(name)
        self.out.append(f"{', '.join(everybody)} are up")

    def do_found(self, *words: str) -> None:
        """A group that has its first primary (see election.txt), and has had a heartbeat."""
        self.do_group(*words)
        for _ in range(2):
            self.do_time("0.1")
            self.do_settle()
        primaries = [name for name, m in self.members.items() if m.core.can_serve(self.now_s)]
        self.out = [f"{', '.join(primaries)} serves in epoch 1"]

    def do_time(self, seconds: str) -> None:
        """Let time pass in steps that meet every deadline."""
        until_s = self.now_s + float(seconds)
        while (next_s := self.next_deadline_s()) < until_s:
            self.tick(next_s)
        self.now_s = until_s

    def do_wait(self, name: str) -> None:
        """Let time pass, with all that arrives and syncs, until this member's time is up."""
        for _ in range(MAX_ROUNDS):
            self.do_settle()
            next_s = self.next_deadline_s()
            self.out = []
            acts = self.members[name].core.deadline_s <= next_s
            self.tick(next_s)
            if acts:
                return
        raise AssertionError(f"{name} has nothing to wait for")

    def do_cut(self, *names: str) -> None:
        """Nothing passes between the two any more; with one name, between it and everybody."""
        others = names[1:] or tuple(self.members)
        self.cuts |= {(names[0], other) for other in others} | {(o, names[0]) for o in others}
        self.out.append(f"{' and '.join(names)} cut off")

    def do_mend(self) -> None:
        self.cuts.clear()
        self.out.append("all links work")

    def do_propose(self, name: str, *payloads: str) -> None:
        for payload in payloads:
            self.members[name].core.propose(payload.encode())
        self.pump(name)

    def do_deliver(self, link: str = "") -> None:
        """What is on the wires now arrives; `a->b` only there."""
        arriving = [each for each in self.sent if link in ("", f"{each.sender}->{each.to}")]
        self.sent = [each for each in self.sent if each not in arriving]
        for message in arriving:
            self.deliver(message)

    def next_deadline_s(self) -> float:
        return min((m.core.deadline_s for m in self.members.values() if m.up), default=1e9)

    def tick(self, now_s: float) -> None:
        self.now_s = max(self.now_s, now_s)
        for name, member in self.members.items():
            if member.up and member.core.deadline_s <= self.now_s:
                member.core.tick(self.now_s)
                self.pump(name)

    def do_drop(self, link: str = "") -> None:
        self.sent = [e for e in self.sent if link not in ("", f"{e.sender}->{e.to}")]

    def do_sync(self, name: str) -> None:
        self.sync(name)

    def do_settle(self) -> None:
        for _ in range(MAX_ROUNDS):
            for name in self.members:
                self.sync(name)
            if not self.sent:
                return
            self.do_deliver()
        raise AssertionError(f"not quiet after {MAX_ROUNDS} rounds")

    def do_kill(self, name: str) -> None:
        self.members[name].up = False
        self.out.append(f"{name} is down")

    def do_crash(self, name: str) -> None:
        member = self.members[name]
        del member.log[member.durable :]
        self.do_kill(name)

    def do_wipe(self, name: str) -> None:
        self.do_kill(name)
        member = self.members[name]
        member.state, member.snapshot, member.log = HardState(), None, []

    def do_start(self, name: str) -> None:
        self.start(name)
        self.out.append(f"{name} is up")

    def do_member(self, primary: str, name: str, role: str) -> None:
        self.members[primary].core.change_member(name, ROLES[role], self.now_s)
        self.pump(primary)

    def do_hand_over(self, primary: str, target: str) -> None:
        self.members[primary].core.hand_over(target, self.now_s)
        self.pump(primary)

    def do_snapshot(self, name: str) -> None:
        member = self.members[name]
        core = member.core
        data = b" ".join(e[3] for e in member.log if e[2] == DATA and e[1] <= core.quorum_lsn)
        member.snapshot, member.data = core.snapshot_of(core.quorum_lsn, len(data)), data
        first_lsn = core.compact(member.snapshot)
        gone = first_lsn - member.log[0][1] if member.log else 0
        del member.log[:gone]
        member.durable -= gone
        self.out.append(f"{name}: snapshot {show_snapshot(member)}, log from {first_lsn}")

    def do_status(self) -> None:
        for name, member in self.members.items():
            core = member.core
            log = f"log {show_at(core.last_epoch, core.last_lsn)} flushed {core.flushed_lsn}"
            seen = f"quorum {core.quorum_lsn} visible {core.visible_lsn}"
            serves = " serves" if member.up and core.can_serve(self.now_s) else ""
            role = core.role if member.up else "down"
            self.out.append(f"{name}: {role} in epoch {core.epoch}{serves}, {log}, {seen}")

    # --- what happens ------------------------------------------------------------------------

    def start(self, name: str) -> None:
        self.members[name].boot(self.now_s)
        self.pump(name)

    def deliver(self, message: Message) -> None:
        member = self.members[message.to]
        if member.up:
            message = replication.from_wire(replication.to_wire(message))
            member.core.step(message, self.now_s)
            self.pump(message.to)

    def sync(self, name: str) -> None:
        member = self.members[name]
        if member.up and member.durable < len(member.log):
            member.durable = len(member.log)
            self.out.append(f"{name}: synced to {member.log[-1][1]}")
            member.core.synced(member.mark, self.now_s)
            self.pump(name)

    def pump(self, name: str) -> None:
        while (ready := self.members[name].core.ready()) is not None:
            self.carry_out(name, ready)

    def carry_out(self, name: str, ready: Ready) -> None:
        member = self.members[name]
        self.out += [f"{name}: {line}" for line in show_ready(ready)]
        if ready.hard_state is not None:
            if ready.hard_state.founding != member.state.founding:
                self.out.append(f"{name}: remembers which founding this is")
            member.state = ready.hard_state
        if ready.truncate_from is not None:
            member.log = [e for e in member.log if e[1] < ready.truncate_from]
            member.durable = min(member.durable, len(member.log))
        if ready.entries:
            member.log += ready.entries
            member.mark = ready.mark
        for chunk in ready.received:
            member.incoming = (member.incoming if chunk.offset else b"") + chunk.data
        chunks = [
            chunk._replace(data=member.data[chunk.offset : chunk.offset + size_bytes])
            for chunk, size_bytes in ready.chunks
        ]
        for message in (*ready.messages, *chunks):
            lost = (name, message.to) in self.cuts or not self.members[message.to].up
            arrow = "-x" if lost else "->"
            self.out.append(f"{name} {arrow} {message.to}  {show(message)}")
            self.sent += [] if lost else [message]
        if ready.install is not None:
            member.snapshot, member.log, member.durable = ready.install, [], 0
            member.data = member.incoming
            self.out.append(f"{name}: installs {show_snapshot(member)}")
            member.core.snapshot_installed()
            self.pump(name)
        member.core.applied(ready.visible_lsn, self.now_s)


# --- in words --------------------------------------------------------------------------------


def show_at(epoch: int, lsn: int) -> str:
    return f"{epoch}:{lsn}"


def show_entry(entry: Entry) -> str:
    epoch, lsn, kind, payload = entry
    text = f" {payload.decode()}" if kind == DATA else KINDS[kind]
    return show_at(epoch, lsn) + text


def show_snapshot(member: Member) -> str:
    assert member.snapshot is not None
    return f"{show_at(member.snapshot.epoch, member.snapshot.lsn)} {member.data.decode()!r}"


def show_ready(ready: Ready) -> Iterator[str]:
    if (state := ready.hard_state) is not None:
        vote = f" vote {state.vote}" if state.vote else ""
        vouched = f" vouches for {', '.join(state.vouched)}" if state.vouched else ""
        yield f"saves epoch {state.epoch}{vote}{'' if state.standing else ' not standing'}{vouched}"
    for event in ready.events:
        yield show_event(event)
    if ready.truncate_from is not None:
        yield f"cuts its log from {ready.truncate_from}"
    if ready.rebuild_from is not None:
        yield f"takes its state back to before {ready.rebuild_from}"
    if ready.entries:
        yield f"appends {', '.join(map(show_entry, ready.entries))}"
    acknowledged = (
        f", acknowledged {ready.acknowledgeable_lsn}" if ready.acknowledgeable_lsn else ""
    )
    said = ready.messages or ready.chunks
    if not (ready.entries or said or ready.events or ready.hard_state):
        yield f"quorum {ready.quorum_lsn}, visible {ready.visible_lsn}{acknowledged}"


def show_event(event: Any) -> str:
    match event:
        case RoleChanged(role, epoch, primary):
            of = f" of {primary}" if primary and role == "follower" else ""
            return f"is {role}{of} in epoch {epoch}"
        case Diverged(records=records):
            return f"had alone: {', '.join(map(show_entry, records))}"
        case Admitted():
            return "is admitted: its word counts again"
        case PrimaryRefused(primary, _, lsn):
            return f"refuses {primary}, which would cut committed {lsn}"
        case SwitchoverEnded(target, done, reason):
            return f"handed over to {target}" if done else f"keeps its role: {reason}"
        case replication.MembersChanged(lsn, members):
            roles = ", ".join(f"{name} {role}" for name, role in members)
            return f"members from {lsn}: {roles}"
        case replication.ForeignMessage(sender, group):
            return f"does not hear {sender}, which speaks in another group, {group}"
    raise AssertionError(event)


def show(message: Message) -> str:
    match message:
        case VoteRequest():
            kind = "would you vote" if message.pre else "vote"
            released = f", epoch {message.released_epoch} released" * bool(message.released_epoch)
            at = show_at(message.last_epoch, message.last_lsn)
            return f"{kind} for me in epoch {message.epoch}? my log ends at {at}{released}"
        case VoteReply():
            yes = "yes" if message.granted else "no"
            return f"{yes}, epoch {message.epoch}{' (blank)' if message.blank else ''}"
        case Append():
            what = ", ".join(map(show_entry, message.entries)) or "nothing"
            tail = " admit" * message.admit
            if message.in_sync_version:
                tail += f" in sync v{message.in_sync_version}: {', '.join(message.in_sync)}"
            after = show_at(message.prev_epoch, message.prev_lsn)
            committed = f"quorum {message.quorum_lsn} visible {message.visible_lsn}"
            return f"epoch {message.epoch} after {after}: {what}; {committed}{tail}"
        case AppendReply(rejected_lsn=-1):
            standing = "" if message.standing else " (not standing)"
            version = f" v{message.in_sync_version}" if message.in_sync_version else ""
            got = f"written {message.written_lsn} flushed {message.flushed_lsn}"
            return f"{got} applied {message.applied_lsn}{standing}{version}"
        case AppendReply():
            hint = show_at(message.hint_epoch, message.hint_lsn)
            return f"does not fit after {message.rejected_lsn}; try {hint}"
        case SnapshotChunk():
            part = f"{message.offset}+{len(message.data)} of {message.total_bytes} bytes"
            return f"snapshot {show_at(message.lsn_epoch, message.lsn)}, {part}"
        case SnapshotReply():
            return f"has {message.received_bytes} bytes of snapshot {message.lsn}"
        case HandOver():
            return f"be primary after epoch {message.epoch}"
        case StaleEpoch():
            return f"you are of the past: epoch {message.epoch}"
    raise AssertionError(message)
