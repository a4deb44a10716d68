"""How often one operation is tried, and when not: the budget, the waits, the breaker.

Retries are made here and at no other layer. Whom an attempt goes to is visiting.py's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

from nodes.base import Context
from nodes.parts.backoff import Backoff, RetryBudget
from nodes.parts.breaker import State
from nodes.parts.tally import ERROR, OK, UNKNOWN, Tally
from nodes.users.config import UsersConfig
from nodes.users.series import UserSeries
from nodes.users.visiting import (
    COUNT,
    COUNT_PHOTOS,
    KNOWN_CODES,
    PHOTO,
    POST,
    Places,
    Visitor,
)
from protocols.errors import RpcError

COUNTING: Final = {POST: COUNT, PHOTO: COUNT_PHOTOS}
"""What adds something → what asks how often it is there."""
FINAL_ERRORS: Final = frozenset(
    {"bad_request", "no_such_method", "not_found", "refused", "too_large", "unauthorized"}
)
"""Asking again would change nothing; and who says so is well."""
AWAY: Final = ("unavailable", "timeout", "disconnected")
LEVELS: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}


class Asking(Protocol):
    """A user."""

    process: str
    visitor: Visitor


class Attempts:
    """Those of one node's users."""

    places: Places

    def __init__(
        self, ctx: Context, config: UsersConfig, series: UserSeries, tally: Callable[[], Tally]
    ) -> None:
        self._ctx = ctx
        self._config = config
        self._series = series
        self._tally = tally
        self.budget = RetryBudget(config.retry_budget_ratio)
        self._backoff = Backoff(config.retry_wait_s, config.max_retry_wait_s, config.jitter)
        self._rng = ctx.rng("users/retry")
        self.breaker = config.breaker.breaker() if config.breaker is not None else None
        ctx.metrics.gauge(
            "retry_budget_tokens", "Retries that the budget allows now.", lambda: self.budget.tokens
        )
        ctx.metrics.counter(
            "user_retries_refused_total", "Retries that the budget did not allow.",
            lambda: self.budget.refused,
        )  # fmt: skip
        if self.breaker is not None:
            breaker = self.breaker
            ctx.metrics.gauge(
                "breaker_state", "0: calls go through; 1: one may try; 2: none goes.",
                lambda: LEVELS[breaker.state],
            )  # fmt: skip

    async def make(
        self, user: Asking, operation: str, arguments: dict[str, Any]
    ) -> tuple[str, str, dict[str, Any]]:
        """(outcome, reason, answer): the first attempt, and others while the budget allows.

        Asking again is safe: reads change nothing, and a post carries its own id.
        """
        unknown = ""
        attempt = 0
        while True:
            try:
                answer = await self._ask(user, operation, arguments, attempt)
                self.budget.success()
                return OK, "", answer
            except RpcError as error:
                reason = error.code if error.code in KNOWN_CODES else "other"
                if not error.definite and operation in COUNTING:
                    unknown = reason
                if reason in AWAY:
                    self.places.failed()
                if reason == "unauthorized" and user.visitor.session:
                    user.visitor.session = ""
                    self._tally().sessions_lost += 1
            over = reason in FINAL_ERRORS or attempt >= self._config.retries
            if over or not self.budget.take():
                return (UNKNOWN, unknown, {}) if unknown else (ERROR, reason, {})
            await self._ctx.clock.sleep(self._backoff.wait_s(attempt, self._rng))
            attempt += 1
            self.budget.made()
            self._tally().retries += 1
            self._series.retries.value += 1

    async def _ask(
        self, user: Asking, operation: str, arguments: dict[str, Any], attempt: int
    ) -> dict[str, Any]:
        """One attempt, if the breaker lets it go. Raises RpcError."""
        clock, breaker, timeout_s = self._ctx.clock, self.breaker, self._config.timeout_s
        if breaker is not None and not breaker.allow(clock.monotonic_s()):
            raise RpcError("unavailable", "nothing was answered lately: the breaker is open")
        try:
            place = await self.places.choose(user.process, attempt)
            answer = await user.visitor.ask(place, operation, arguments, timeout_s)
        except RpcError as error:
            if breaker is not None and error.code in FINAL_ERRORS:
                breaker.success()
            elif breaker is not None:
                breaker.failure(clock.monotonic_s())
            raise
        if breaker is not None:
            breaker.success()
        return answer
