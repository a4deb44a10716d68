"""What a member answers that cannot do as it is asked: who leads, or what is missing. Pure."""

from __future__ import annotations

from protocols.errors import RpcError
from protocols.replication.quorum import majority
from protocols.replication.replica import VOTER, WITNESS, Replica


def not_primary(core: Replica) -> RpcError:
    """Of a member that is none."""
    if core.primary is not None:
        return RpcError("not_primary", f"the primary may be {core.primary}", core.primary)
    votes = sorted(name for name, role in core.members.items() if role in (VOTER, WITNESS))
    most = f"{majority(len(votes))} of {len(votes)} votes ({', '.join(votes)})"
    return RpcError("not_primary", f"no primary just now: to elect one takes {most}", None)


def no_room_elsewhere(core: Replica) -> RpcError:
    """Of a primary whose own disk has room."""
    full = ", ".join(without_room(core))
    return RpcError(
        "no_space", f"too few members have room on their disks: those of {full} are full"
    )


def without_room(core: Replica) -> list[str]:
    """The other members whose disks are full, as they have told the primary."""
    return sorted(name for name, to in core.progress.items() if to.lacks_room)
