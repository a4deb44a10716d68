"""Handing over at an operator's word, in every replicated group: whoever is best leads next."""

from __future__ import annotations

from nodes.replica.driver import ReplicaDriver
from nodes.wire.service import Call
from protocols.errors import RpcError
from protocols.replication.replica import VOTER


class HandingOver:
    """One member's answer to it."""

    def __init__(self, driver: ReplicaDriver) -> None:
        self._driver = driver

    def hand_over(self, call: Call) -> str:
        """Who shall lead. Raises RpcError: not_primary, refused."""
        driver, core = self._driver, self._driver.core
        if not driver.is_primary:
            raise RpcError("not_primary", "only the primary can hand over", core.primary)
        able = [
            (progress.flushed_lsn, name)
            for name, progress in core.progress.items()
            if core.members.get(name) == VOTER and progress.standing and core.is_caught_up(name)
        ]
        if not able:
            raise RpcError("refused", "no other member could lead now")
        _, best = max(able)
        driver.hand_over(best)
        return best
