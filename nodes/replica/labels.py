"""What replicas say to each other, in the words of a diagram: `append 12..14`, `flushed 14`."""

from __future__ import annotations

import re
from typing import Any, Final

from nodes.replica.hearing import REPLICATE
from protocols.replication import messages as said


def in_words(params: list[Any]) -> str:
    """The label of a `replicate` notification; "" if it is none."""
    try:
        message = said.from_wire(params[0])
    except (said.BadMessage, TypeError, ValueError, LookupError):
        return ""
    match message:
        case said.Append(prev_lsn=before, entries=entries) if entries:
            first, last = before + 1, before + len(entries)
            return f"append {first}" if first == last else f"append {first}..{last}"
        case said.Append(visible_lsn=lsn):
            return f"visible {lsn}"
        case said.AppendReply(rejected_lsn=lsn) if lsn >= 0:
            return f"does not fit {lsn}"
        case said.AppendReply(flushed_lsn=lsn, lacks_room=full):
            return f"flushed {lsn}, disk full" if full else f"flushed {lsn}"
        case said.VoteRequest(pre=pre, epoch=epoch):
            return f"would you vote? {epoch}" if pre else f"vote? {epoch}"
        case said.VoteReply(granted=granted, epoch=epoch):
            return f"{'yes' if granted else 'no'} {epoch}"
    return re.sub(r"(?<!^)(?=[A-Z])", " ", type(message).__name__).lower()


LABELS: Final = {REPLICATE: in_words}
