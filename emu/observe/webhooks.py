"""Alerts for a pager of the user's own: what fires and what has ended is posted to HTTP addresses
outside, as Prometheus' Alertmanager posts it (webhook, version 4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

import trio

from emu.alerts.states import Firing
from emu.observe.outbox import OUTCOMES, Address, Kind, Log, Outbox, Post
from nodes.metrics import Metrics
from nodes.parts import jsons

MAX_WEBHOOKS: Final = 10
NOT_SENT: Final = "alert not sent"
SENT_AGAIN: Final = "alerts are sent again"
EVENTS: Final = {
    NOT_SENT: "An alert could not be posted to a webhook, and is given up.",
    SENT_AGAIN: "A webhook that had failed takes alerts again.",
}
ALERTS: Final = Kind("alerts", NOT_SENT, SENT_AGAIN, max_waiting=100, give_up_s=300.0)


class Webhooks:
    """`tell` it what fires; run `run`. `now_s`, `sleep`: the cluster's time, in which alerts are;
    `began`: when that was 0."""

    def __init__(
        self,
        addresses: Iterable[Address],
        post: Post,
        log: Log,
        metrics: Metrics,
        *,
        cluster: str,
        url: str,
        now_s: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        began: datetime,
    ) -> None:
        self._outboxes = [
            Outbox(
                ALERTS, each, post, log,
                [metrics.counter("webhook_alerts_total", "Alerts for webhooks, by outcome.",
                                 outcome=outcome, to=each.url) for outcome in OUTCOMES],
                now_s=now_s, sleep=sleep,
            )
            for each in addresses
        ]  # fmt: skip
        self._cluster, self._url = cluster, url
        self._began = began

    def tell(self, firing: Firing, fires: bool) -> None:
        """It has begun to fire, or has ended."""
        if self._outboxes:
            body = jsons.dumps(self.message(firing, fires)).encode()
            for each in self._outboxes:
                each.add(body, alert=firing.alert)

    def message(self, firing: Firing, fires: bool) -> Mapping[str, Any]:
        """One alert, as Alertmanager posts a group of one."""
        labels = {**dict(firing.labels), "cluster": self._cluster}
        status = "firing" if fires else "resolved"
        told = {
            "summary": firing.summary,
            "description": firing.description,
            "mend": firing.mend,
        }
        starts_at = self._when(firing.fired_s if firing.fired_s is not None else firing.since_s)
        never = "0001-01-01T00:00:00Z"
        key = jsons.dumps(sorted(labels.items()))
        return {
            "version": "4",
            "groupKey": f"{{}}:{{alertname={firing.alert!r}}}",
            "truncatedAlerts": 0,
            "status": status,
            "receiver": "emu",
            "groupLabels": {"alertname": firing.alert},
            "commonLabels": labels,
            "commonAnnotations": told,
            "externalURL": self._url,
            "alerts": [
                {
                    "status": status,
                    "labels": labels,
                    "annotations": told,
                    "startsAt": starts_at,
                    "endsAt": never if firing.cleared_s is None else self._when(firing.cleared_s),
                    "generatorURL": self._url,
                    "fingerprint": sha256(key.encode()).hexdigest()[:16],
                }
            ],
        }

    def _when(self, at_s: float) -> str:
        return (self._began + timedelta(seconds=at_s)).astimezone(UTC).isoformat()

    async def run(self) -> None:
        """Post until cancelled; what waits then is given up."""
        async with trio.open_nursery() as nursery:
            for each in self._outboxes:
                nursery.start_soon(each.run)
