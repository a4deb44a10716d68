"""What the records of a replicated log mean: the side that a tier brings.

A small state is dumped and restored in one piece (StateMachine), a large one in steps
(CopiesInSteps); one that is larger than memory lies in files, which are not copied (KeepsFiles).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

from protocols.replication.log import DATA, Entry
from protocols.replication.pieces import Content
from protocols.replication.snapshot_file import StateFile
from protocols.stepping import Steps

Applied = Callable[[], Iterable[bytes]]
"""The payloads of the records that were applied since the last call, or since the dump began: to be
looked at now or never. What is dumped is the state at the last call."""


class DoesNotApply(Exception):
    """A record does not fit the state, which is as it was before."""


class StateMachine(Protocol):
    """Synchronous and deterministic. To apply raises DoesNotApply."""

    def apply(self, payload: bytes, lsn: int) -> None: ...
    def dump(self) -> Content: ...
    def restore(self, data: Content | None) -> None:
        """Become what `dump` gave; None: become empty."""
        ...

    def describe(self, payload: bytes) -> Any:
        """A divergent record for people to read (JSON-able)."""
        ...


@runtime_checkable
class AppliesBatches(Protocol):
    """A StateMachine that takes many records at once for less: a replay is mostly that."""

    def apply_batch(self, payloads: Sequence[bytes]) -> None: ...


@runtime_checkable
class CopiesInSteps(Protocol):
    """A StateMachine whose state may be large: others go on while it is copied."""

    def dump_in_steps(self, applied: Applied) -> Steps[Content]:
        """The state as it was at the last call of `applied`. Between the steps records may be
        applied; the dump is to be given up if the state is replaced."""
        ...

    def restore_in_steps(self, data: Content) -> Steps[Callable[[], None]]:
        """What makes this the state that was dumped; until it is called, all is as it was."""
        ...


@runtime_checkable
class KeepsFiles(Protocol):
    """A StateMachine most of whose state lies in files on its node's disk: a snapshot of it is a
    manifest, which is what it dumps, and those files as they lie there.

    `apply` appends to a file (`disk.append`, which returns at once, and need not be synced: until
    a snapshot has it, the log does). A file only grows, and once all of it was deleted from the
    state the machine just stops naming it. It removes none: the driver removes what begins with
    `file_prefix` and is neither in the latest snapshot nor in `files_in_use`.

    A snapshot is made without reading the files: the driver syncs them, then gives it its name. A
    peer gets the manifest and the files one after the other, and writes them under other names.
    So a manifest speaks of its files by their place in the list, never by name.

    After a restore the machine goes on in files of new names (none that `disk.names()` has):
    those that were restored may be longer than the snapshot says, by what is replayed now.
    """

    file_prefix: str
    """What the names of its files begin with, and no other file's."""

    def dumped_files(self) -> Sequence[StateFile]:
        """What belongs to the dump that has just ended (nothing was applied since)."""
        ...

    def restore_from_files(
        self, manifest: Content, files: Sequence[StateFile]
    ) -> Steps[Callable[[], None]]:
        """As `restore_in_steps`; the files are those that belonged to the dump, in that order."""
        ...

    def files_in_use(self) -> Sequence[str]:
        """What the state, as it is now, or somebody who reads from it, still needs."""
        ...


@runtime_checkable
class SharesOut(Protocol):
    """A StateMachine that says which group has what of a whole that several groups keep together:
    copies of all of them fit each other only if that stayed as it was meanwhile."""

    @property
    def arrangement(self) -> tuple[int, str]:
        """Grows with each change; and what is just being changed, in words, or ""."""
        ...


def dump_in_steps(machine: StateMachine, applied: Applied) -> Steps[Content]:
    """See CopiesInSteps; other machines do it in one step."""
    if isinstance(machine, CopiesInSteps):
        return (yield from machine.dump_in_steps(applied))
    applied()
    return machine.dump()


def restore_in_steps(
    machine: StateMachine, data: Content | None, files: Sequence[StateFile] = ()
) -> Steps[Callable[[], None]]:
    """See CopiesInSteps and KeepsFiles; other machines do it in one step, and so does who becomes
    empty."""
    if data is not None and isinstance(machine, KeepsFiles):
        return (yield from machine.restore_from_files(data, files))
    if data is not None and isinstance(machine, CopiesInSteps):
        return (yield from machine.restore_in_steps(data))
    return partial(machine.restore, data)


def apply_entries(machine: StateMachine, entries: Sequence[Entry]) -> None:
    """Apply what is the machine's own among them."""
    if len(entries) > 1 and isinstance(machine, AppliesBatches):
        machine.apply_batch([payload for _, _, kind, payload in entries if kind == DATA])
        return
    for _, lsn, kind, payload in entries:
        if kind == DATA:
            machine.apply(payload, lsn)
