"""What a family brings to group commit: how requests are executed and become one record. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from protocols.errors import RpcError

Request = TypeVar("Request", contravariant=True)


class Outcome(NamedTuple):
    """What one client hears."""

    results: Any
    refusal: RpcError | None = None
    """Nothing changed, for this reason."""
    repeated_lsn: int | None = None
    """The record that has its effect already: the request was known."""


class Group(NamedTuple):
    """Requests that were executed together, and what replicas must apply."""

    outcomes: list[Outcome]
    record: bytes | None
    """None: nothing changed."""


class Family(Protocol[Request]):
    """What is gathered, and what it does."""

    def execute(self, asked: Sequence[Request], lsn: int) -> Group:
        """Run the first of these on the state ahead, in their order, as the record at `lsn`: at
        least one and as many as one record should hold. Each is done whole, or refused and not at
        all; one whose request id is known, in this group or before, is not done again."""
        ...

    def answer(self, results: Any, lsn: int) -> Any:
        """What the client hears of its results, which the record at `lsn` has."""
        ...

    def acknowledged(self, requests: int, seconds: float) -> None:
        """So many are committed, so long after they were executed."""
        ...

    def refused(self, requests: int) -> None:
        """So many of a group changed nothing."""
        ...
