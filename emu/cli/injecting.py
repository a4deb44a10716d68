"""Waiting for a fault or an operation to be done, and saying what it waits for.

Only an orderly end takes long: the node's connections have their time to end. Ctrl-C ends them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from emu.cli import output
from emu.control.client import ControlClient

QUIET_S: Final = 0.5
"""Whatever is done within this is not talked about."""
POLL_S: Final = 0.5
MOST_SHOWN: Final = 3


def until_done(
    client: ControlClient, msgid: int, tier: str = "", *, at_once: str = "Ctrl-C"
) -> Any:
    """The answer to what was begun, however long it takes; it may wait for who leads `tier`, too.
    `at_once`: how to have it without waiting. Raises RpcError, ControlError."""
    told, wait_s, hurried = "", QUIET_S, False
    while True:
        try:
            try:
                return client.wait(msgid, wait_s)
            except TimeoutError:
                wait_s = POLL_S
            waits = client.call("waits", tier)
            text = _draining(waits) or _booting(waits["boots"]) or _leaderless(waits["leaderless"])
            if text and text != told:
                limit = f" ({waits['most_s']:g} s at most; {at_once}: at once)"
                hint = limit if waits["connections"] and not told else ""
                output.note(f"waiting for {text}{hint}")
                told = text
        except KeyboardInterrupt:
            if hurried:
                raise
            hurried = True
            _hurry(client)


def _draining(waits: Mapping[str, Any]) -> str:
    """`lb-1: 3 connections left`, or "" if nobody drains."""
    counts = (f"{name}: {_connections(count)}" for name, count in waits["connections"].items())
    return ", ".join(counts)


def _booting(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - MOST_SHOWN} more" if len(texts) > MOST_SHOWN else ""
    return "; ".join(texts[:MOST_SHOWN]) + more


def _leaderless(texts: Sequence[str]) -> str:
    return f"somebody to lead: {'; '.join(texts)}" if texts else ""


def _connections(count: int | None) -> str:
    if count is None:
        return "its last requests"
    return "1 connection left" if count == 1 else f"{count} connections left"


def _hurry(client: ControlClient) -> None:
    names = client.call("hurry")
    output.note(
        f"not waiting for {', '.join(names)}" if names else "it cannot be hurried", "yellow"
    )
