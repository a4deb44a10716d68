"""A bank: transfers only move money, so every snapshot of all balances has the same total."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from emu.checks.history import Operation
from emu.checks.result import Finding, at, show

BALANCES: Final = "balances"
TOLERANCE: Final = 1e-9
"""For balances that are not whole numbers."""


def check_bank(operations: Sequence[Operation]) -> Iterator[Finding]:
    """Totals that differ, accounts that come or go, balances below zero."""
    reads = sorted(
        (each for each in operations if each.f == BALANCES and each.is_ok),
        key=lambda each: each.end,
    )
    if not reads:
        return
    first = reads[0]
    total = sum(first.result.values())
    for read in reads:
        yield from _negative(read)
        if set(read.result) != set(first.result):
            yield _other_accounts(first, read)
        elif abs(sum(read.result.values()) - total) > TOLERANCE * max(1, abs(total)):
            yield _other_total(first, read, operations)


def _negative(read: Operation) -> Iterator[Finding]:
    for account, amount in read.result.items():
        if amount < 0:
            text = f"{_seen(read)} {show(account)} at {show(amount)}: below zero"
            yield Finding(text, (read,))


def _other_accounts(first: Operation, read: Operation) -> Finding:
    missing = sorted(set(first.result) - set(read.result), key=str)
    surplus = sorted(set(read.result) - set(first.result), key=str)
    words = [f"lacks {', '.join(map(show, missing))}"] if missing else []
    words += [f"has {', '.join(map(show, surplus))} besides"] if surplus else []
    text = f"{_seen(read)} other accounts than {first.process} did at {at(first.completed_s)}: it "
    return Finding(text + " and ".join(words), (first, read))


def _other_total(first: Operation, read: Operation, operations: Sequence[Operation]) -> Finding:
    """Name the one transfer that a half-done snapshot would explain, if there is one."""
    total, expected = sum(read.result.values()), sum(first.result.values())
    text = (
        f"{_seen(read)} a total of {show(total)}; it was {show(expected)} "
        f"for {first.process} at {at(first.completed_s)}"
    )
    half = [each for each in operations if _is_half(each, read, abs(total - expected))]
    if len(half) != 1:
        return Finding(text, (first, read))
    amount = show(half[0].value["amount"])
    text += f"; half of the transfer of {amount} by {half[0].process} would explain it"
    return Finding(text, (first, half[0], read))


def _is_half(operation: Operation, read: Operation, gap: Any) -> bool:
    """A transfer of that amount, under way while the balances were read."""
    return (
        operation.f != BALANCES
        and operation.begin < read.end
        and operation.end > read.begin
        and operation.value["amount"] == gap
    )


def _seen(read: Operation) -> str:
    return f"{read.process} saw at {at(read.completed_s)}"
