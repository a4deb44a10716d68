"""Alerts for a pager of the user's own: what fires and what has ended is posted to HTTP addresses
outside, as Prometheus' Alertmanager posts it (webhook, version 4).

An address that does not answer is asked again, ever more seldom, and costs nobody else anything:
each has a queue, which is bounded, and what is given up is an event that says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import trio

from emu.alerts.states import Firing
from nodes.metrics import Metrics
from nodes.parts import jsons

MAX_WEBHOOKS: Final = 10
MAX_WAITING: Final = 100
"""Alerts that wait for one address; of more the oldest are given up."""
FIRST_WAIT_S: Final = 1.0
MOST_WAIT_S: Final = 30.0
GIVE_UP_S: Final = 300.0
"""An alert that could not be posted for so long is old."""
RETRIED: Final = (408, 425, 429)
"""Answers below 500 after which the same may be taken later."""
NOT_SENT: Final = "alert not sent"
SENT_AGAIN: Final = "alerts are sent again"
EVENTS: Final = {
    NOT_SENT: "An alert could not be posted to a webhook, and is given up.",
    SENT_AGAIN: "A webhook that had failed takes alerts again.",
}


class Webhook(NamedTuple):
    """Where alerts are posted to."""

    url: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, url: str) -> Webhook:
        """Raises ValueError."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            (host or "").encode("idna")
        except ValueError as error:  # also of a name that cannot be one
            raise ValueError(f"`{url[:100]}` is no address: {error}") from error
        if parts.scheme != "http" or not host:
            example = "http://127.0.0.1:9095/hook"
            raise ValueError(f"`{url[:100]}`: alerts are posted to plain HTTP, such as {example}")
        printable = all("!" <= each <= "~" for each in url)
        if parts.username or parts.fragment or port == 0 or not printable:
            raise ValueError(f"`{url[:100]}`: only a host, port, path and query are understood")
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        return cls(url, host, port or 80, target)


Post = Callable[[Webhook, bytes], Awaitable[int]]
"""Posts JSON; the status of the answer. Raises OSError, which says why there is none."""


class Log(Protocol):
    def info(self, event: str, **fields: Any) -> None: ...
    def warning(self, event: str, **fields: Any) -> None: ...


class _Alert(NamedTuple):
    alert: str
    told_s: float
    body: bytes


class Webhooks:
    """`tell` it what fires; run `run`. `now_s`, `sleep`: the cluster's time, in which alerts are;
    `began`: when that was 0."""

    def __init__(
        self,
        addresses: Iterable[Webhook],
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
        self._queues = [_Queue(each, self, post, log, metrics) for each in addresses]
        self._cluster, self._url = cluster, url
        self.now_s, self.sleep = now_s, sleep
        self._began = began

    def tell(self, firing: Firing, fires: bool) -> None:
        """It has begun to fire, or has ended."""
        if self._queues:
            body = jsons.dumps(self.message(firing, fires)).encode()
            for each in self._queues:
                each.add(_Alert(firing.alert, self.now_s(), body))

    def message(self, firing: Firing, fires: bool) -> Mapping[str, Any]:
        """One alert, as Alertmanager posts a group of one."""
        labels = {**dict(firing.labels), "cluster": self._cluster}
        status = "firing" if fires else "resolved"
        told = {"summary": firing.summary, "description": firing.description}
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
            for each in self._queues:
                nursery.start_soon(each.run)


class _Queue:
    """What waits for one address, in order."""

    def __init__(
        self, webhook: Webhook, webhooks: Webhooks, post: Post, log: Log, metrics: Metrics
    ) -> None:
        self._webhook, self._webhooks, self._post, self._log = webhook, webhooks, post, log
        self._waiting: deque[_Alert] = deque()
        self._wanted = trio.Event()
        self._failed = False
        self._sent = metrics.counter(
            "webhook_alerts_total",
            "Alerts for webhooks, by outcome.",
            outcome="sent",
            to=webhook.url,
        )
        self._dropped = metrics.counter(
            "webhook_alerts_total", "Alerts for webhooks, by outcome.", outcome="dropped",
            to=webhook.url,
        )  # fmt: skip

    def add(self, alert: _Alert) -> None:
        self._waiting.append(alert)
        if len(self._waiting) > MAX_WAITING:
            self._give_up(self._waiting.popleft(), f"over {MAX_WAITING} alerts wait for it")
        self._wanted.set()

    async def run(self) -> None:
        try:
            while True:
                await self._wanted.wait()
                self._wanted = trio.Event()
                while self._waiting:
                    await self._deliver(self._waiting[0])
        finally:
            for each in self._waiting:
                self._give_up(each, "the run ended first")
            self._waiting.clear()

    async def _deliver(self, alert: _Alert) -> None:
        """Until it was taken, or is given up: then it waits no longer."""
        wait_s = FIRST_WAIT_S
        while self._waiting and self._waiting[0] is alert:
            why, final = await self._try(alert)
            if not (self._waiting and self._waiting[0] is alert):
                return  # it was given up meanwhile: there are too many
            now_s = self._webhooks.now_s()
            if not why:
                self._waiting.popleft()
                self._sent.value += 1
                if self._failed:
                    self._failed = False
                    self._log.info(SENT_AGAIN, url=self._webhook.url)
                return
            if final or now_s + wait_s - alert.told_s > GIVE_UP_S:
                self._waiting.popleft()
                self._give_up(alert, why)
                return
            await self._webhooks.sleep(wait_s)
            wait_s = min(MOST_WAIT_S, wait_s * 2)

    async def _try(self, alert: _Alert) -> tuple[str, bool]:
        """Why it was not taken ("": it was), and whether asking again would not help."""
        try:
            status = await self._post(self._webhook, alert.body)
        except OSError as error:
            return f"no answer: {error}", False
        if 200 <= status < 300:
            return "", False
        return f"it answered {status}", status < 500 and status not in RETRIED

    def _give_up(self, alert: _Alert, why: str) -> None:
        self._failed = True
        self._dropped.value += 1
        self._log.warning(
            NOT_SENT, alert=alert.alert, url=self._webhook.url, why=why,
            dropped=int(self._dropped.value),
        )  # fmt: skip
