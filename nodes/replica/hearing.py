"""What one member hears from another over the wire: messages of the core, each in its own name."""

from __future__ import annotations

from typing import Any, Final

from nodes.wire.service import Call
from protocols.replication import replica as replication
from protocols.replication.messages import Message

REPLICATE: Final = "replicate"


def read_message(call: Call, wire: Any) -> Message:
    """What a peer says in its own name; ValueError ends its connection."""
    try:
        message = replication.from_wire(wire)
    except replication.BadMessage as error:
        raise ValueError(str(error)) from error
    if call.peer != message.sender:
        raise ValueError(f"{call.peer} speaks for {message.sender}")
    return message
