"""Asking a group from the operator's seat: whoever leads it, wherever that moves meanwhile.

The group's own clients find their leader by the directory (client.py); an operator knows the
members and what they last said of themselves.
"""

from __future__ import annotations

from typing import Any, Final

from nodes.operations import Console
from nodes.replica.client import ELSEWHERE
from protocols.errors import RpcError
from protocols.replication.replica import PRIMARY

PATIENCE_S: Final = 10.0
"""How long somebody is looked for who can answer: a failover takes less."""
ATTEMPT_S: Final = 3.0
PAUSE_S: Final = 0.05


async def ask_leader(
    console: Console,
    tier: str,
    method: str,
    *params: Any,
    again: bool,
    reads: bool = False,
    main: bool = False,
    patience_s: float = PATIENCE_S,
    attempt_s: float = ATTEMPT_S,
) -> tuple[str, Any]:
    """The leader's name and its answer. `main`: at the main port, else on the admin listener.

    `again`: it may be asked twice, so even an unknown outcome is tried again. `reads`: it has no
    effect that could still come. Raises RpcError.
    """
    until_s = console.now_s() + patience_s
    last = nobody = RpcError(
        "unavailable", f"no node of `{tier}` is up: `emu ps {tier}` shows them"
    )
    unknown: RpcError | None = None
    hint = ""
    while True:
        for name in _likeliest_first(console, tier, hint):
            left_s = until_s - console.now_s()
            if left_s <= 0:
                break
            try:
                timeout_s = min(left_s, attempt_s)
                return name, await console.ask(
                    name, method, *params, timeout_s=timeout_s, main=main
                )
            except RpcError as error:
                if not error.definite:
                    unknown = error
                if error.code not in ELSEWHERE or not (again or error.definite):
                    raise (error if reads else after(unknown, error)) from unknown
                if error.code != "not_primary" or last is nobody:
                    last = error
                if error.code == "not_primary" and error.details and error.details[0]:
                    hint = str(error.details[0])
        if console.now_s() >= until_s:
            raise unknown or last
        await console.sleep(PAUSE_S)
        await console.members(tier)


def after(unknown: RpcError | None, error: RpcError) -> RpcError:
    """An error as an answer: a refusal says nothing of an earlier attempt of unknown outcome."""
    if unknown is None or not error.definite:
        return error
    text = f"{error}, but an earlier attempt may still take effect"
    return RpcError("unknown_outcome", text)


def _likeliest_first(console: Console, tier: str, hint: str) -> list[str]:
    members = [each for each in console.seen(tier) if each.running]
    members.sort(key=lambda each: (each.name != hint, each.role != PRIMARY))
    return [each.name for each in members]
