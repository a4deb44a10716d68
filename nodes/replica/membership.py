"""Which member a replicated group should take in, promote or let go next. Pure; one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from protocols.replication.messages import Members
from protocols.replication.replica import LEARNER, VOTER, WITNESS


class Change(NamedTuple):
    """`role` None: out of the group."""

    name: str
    role: str | None
    why: str


class Peer(NamedTuple):
    """What the primary knows of another member."""

    silent_s: float
    caught_up: bool


def founders_of(names: Sequence[str], *, witnesses: int, spares: int) -> Members:
    """The members that found a group: the last of `names` wait as spares, those before vote only.

    Raises ValueError if nobody is left to hold the data.
    """
    data = len(names) - witnesses - spares
    if data < 1:
        raise ValueError(f"{len(names)} nodes leave none for data beside witnesses and spares")
    roles = [VOTER] * data + [WITNESS] * witnesses
    return tuple(sorted(zip(names, roles, strict=False)))


def next_change(
    me: str,
    members: Mapping[str, str],
    listed: Sequence[str],
    peers: Mapping[str, Peer],
    *,
    spares: int,
    replace_after_s: float,
) -> Change | None:
    """As the primary `me` sees it: `listed` are the tier's nodes now, in order.

    A voter that was silent for long is replaced by a learner that has caught up, which is a voter
    first; whoever is missing joins as a learner.
    """
    voters = [name for name, role in members.items() if role == VOTER]
    witnesses = [name for name, role in members.items() if role == WITNESS]
    wanted = max(1, len([name for name in listed if name not in witnesses]) - spares)
    silent = [n for n in members if n in peers and peers[n].silent_s > replace_after_s]
    dead = [name for name in voters if name in silent]
    ready = [
        name
        for name, role in members.items()
        if role == LEARNER and name in peers and peers[name].caught_up and name not in silent
    ]
    for name in silent:
        if name not in listed:
            return Change(name, None, f"away for {peers[name].silent_s:.0f} s, and not expected")
    if len(voters) - len(dead) < wanted and ready:
        return Change(ready[0], VOTER, f"takes the place of {dead[0]}" if dead else "caught up")
    if len(voters) > wanted and dead:
        return Change(dead[0], None, f"away for {peers[dead[0]].silent_s:.0f} s, and replaced")
    for name in listed:
        if name not in members:
            return Change(name, LEARNER, "listed in the directory")
    return None
