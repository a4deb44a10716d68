"""What a peer may answer instead of a result, and what the caller may conclude from it.

A *definite* error is a refusal: the request did not take effect, and never will. After an
*indefinite* one
nobody knows. On the wire an error is `[code, message, *details]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

DEFINITE: Final = frozenset(
    {
        "bad_request",  # not understood: wrong shape, wrong type
        "no_such_method",
        "too_large",  # over a limit that the message names
        "not_found",
        "refused",  # understood, and declined: a failed guard, a UNIQUE violation
        "unauthorized",
        "expired",  # dropped before it was begun: its deadline had passed
        "overloaded",  # a queue is full: come back later
        "unavailable",  # nobody here can serve this now
        "not_primary",  # details: the primary's name, or nil
        "stale_epoch",  # details: the epoch that the receiver knows
        "moved",  # details: slot, owner, map version
        "ask",
        "crossslot",
        "wrong_type",  # the key holds another kind of value than the command is for
        "no_space",  # the disk is full: reads go on
        "full",  # a queue's topic is: come back when something was taken out
        "out_of_range",  # details: the first offset that there is, and the end
        "fenced",  # another has taken this producer's name
        "unknown_producer",
        "out_of_sequence",  # details: the sequence that is next
        "stale_generation",  # a consumer group went on without this member
        "stale_delivery",  # the record was delivered to another since
        "settled",  # the record is done already
    }
)
INDEFINITE: Final = frozenset(
    {
        "timeout",  # no answer in time
        "disconnected",  # the connection broke with the request in flight
        "cancelled",  # the caller gave up, perhaps too late
        "internal",  # the handler failed half-way
        "unknown_outcome",  # the server itself does not know: it lost its role meanwhile
    }
)
SERVER_ERRORS: Final = frozenset(
    {
        "expired",
        "internal",
        "no_space",
        "overloaded",
        "timeout",
        "disconnected",
        "unavailable",
        "unknown_outcome",
    }
)
"""What counts against the server: the others tell the caller its mistake, or where to go."""


class RpcError(Exception):
    """An error answer. `details` are what a program needs beyond the text."""

    def __init__(self, code: str, message: str = "", *details: Any) -> None:
        super().__init__(code, message, *details)
        self.code = code
        self.message = message
        self.details = details

    @property
    def definite(self) -> bool:
        """Whether the request certainly did not take effect. Unknown codes are indefinite."""
        return self.code in DEFINITE

    def to_wire(self) -> list[Any]:
        return [self.code, self.message, *self.details]

    @classmethod
    def from_wire(cls, error: Any) -> RpcError:
        """Accept what any server may send: our list, a bare string, anything."""
        if isinstance(error, Sequence) and not isinstance(error, str | bytes) and error:
            code, *rest = error
            message = str(rest[0]) if rest else ""
            return cls(str(code), message, *rest[1:])
        return cls("internal", str(error))

    def __str__(self) -> str:
        return f"{self.code}: {self.message}" if self.message else self.code
