"""Alerts for a pager: in order, again until they are taken, bounded, and told where given up."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import trio
import trio.testing

from emu.alerts.states import Firing
from emu.live.post import post_json
from emu.observe.outbox import Address
from emu.observe.webhooks import ALERTS, Webhooks
from nodes.metrics import Metrics

URL = "http://127.0.0.1:9/hook"
BEGAN = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Pager:
    """Answers as it is told, and keeps what it took."""

    def __init__(self, *answers: int | str) -> None:
        self.answers = list(answers)
        self.taken: list[Any] = []
        self.asked_s: list[float] = []

    async def post(self, address: Address, body: bytes) -> int:
        await trio.lowlevel.checkpoint()
        self.asked_s.append(trio.current_time())
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, str):
            raise OSError(answer)
        if answer == 200:
            self.taken.append(json.loads(body))
        return answer


class Log:
    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []

    def info(self, event: str, **fields: Any) -> None:
        self.told.append((event, fields))

    warning = info


def outcomes(metrics: Metrics, family: str) -> dict[str, float]:
    """How many were sent, and how many given up."""
    found = metrics.samples(frozenset([family]))
    return {dict(labels)["outcome"]: value for _, labels, value in found}


async def run(
    pager: Pager, act: Callable[[Webhooks], Awaitable[object]]
) -> tuple[Log, dict[str, float]]:
    log, metrics = Log(), Metrics()
    hooks = Webhooks(
        [Address.parse(URL)], pager.post, log, metrics, cluster="shop", url="http://127.0.0.1:1",
        now_s=trio.current_time, sleep=trio.sleep, began=BEGAN,
    )  # fmt: skip
    async with trio.open_nursery() as nursery:
        nursery.start_soon(hooks.run)
        await act(hooks)
        nursery.cancel_scope.cancel()
    return log, outcomes(metrics, "emu_webhook_alerts_total")


def firing(number: int = 1, cleared_s: float | None = None) -> Firing:
    labels = (("alertname", f"A{number}"), ("severity", "page"))
    texts = "it is broken", "look at it", "mend it"
    return Firing(f"A{number}", labels, 1.0, 3.0, cleared_s, *texts)


async def test_an_alert_is_posted_as_alertmanager_does(autojump_clock):
    pager = Pager()

    async def act(hooks: Webhooks) -> None:
        hooks.tell(firing(), fires=True)
        hooks.tell(firing(cleared_s=9.5), fires=False)
        await trio.sleep(1)

    _, counts = await run(pager, act)
    first, second = pager.taken
    assert (first["version"], first["status"], second["status"]) == ("4", "firing", "resolved")
    (alert,) = second["alerts"]
    assert alert["labels"] == {"alertname": "A1", "severity": "page", "cluster": "shop"}
    told = {"summary": "it is broken", "description": "look at it", "mend": "mend it"}
    assert alert["annotations"] == told
    assert alert["startsAt"] == "2026-11-30T12:00:03+00:00"
    assert alert["endsAt"] == "2026-11-30T12:00:09.500000+00:00"
    assert alert["fingerprint"] == first["alerts"][0]["fingerprint"]
    assert counts == {"sent": 2.0, "dropped": 0.0}


async def test_who_does_not_answer_is_asked_ever_more_seldom_and_in_order(autojump_clock):
    pager = Pager("refused", 503, 429, "refused")

    async def act(hooks: Webhooks) -> None:
        hooks.tell(firing(1), fires=True)
        hooks.tell(firing(2), fires=True)
        await trio.sleep(60)

    log, _ = await run(pager, act)
    assert [each["groupLabels"]["alertname"] for each in pager.taken] == ["A1", "A2"]
    assert [round(at_s - pager.asked_s[0]) for at_s in pager.asked_s] == [0, 1, 3, 7, 15, 15]
    assert log.told == []


async def test_what_is_given_up_is_told_and_the_next_one_goes_on(autojump_clock):
    pager = Pager(*["no route"] * 14)

    async def act(hooks: Webhooks) -> None:
        hooks.tell(firing(1), fires=True)
        await trio.sleep(ALERTS.give_up_s + 1)
        hooks.tell(firing(2), fires=True)
        await trio.sleep(60)

    log, counts = await run(pager, act)
    (dropped, fields), (again, _) = log.told
    assert (dropped, again) == ("alert not sent", "alerts are sent again")
    assert (fields["alert"], fields["why"]) == ("A1", "no answer: no route")
    assert counts == {"sent": 1.0, "dropped": 1.0}


async def test_what_is_refused_for_good_is_not_sent_again(autojump_clock):
    pager = Pager(404)

    async def act(hooks: Webhooks) -> None:
        hooks.tell(firing(1), fires=True)
        await trio.sleep(60)

    log, _ = await run(pager, act)
    assert len(pager.asked_s) == 1
    assert log.told[0][1]["why"] == "it answered 404"


async def test_no_more_than_a_bound_wait_and_the_oldest_are_given_up(autojump_clock):
    pager = Pager(*["no route"] * 100)

    async def act(hooks: Webhooks) -> None:
        for number in range(ALERTS.max_waiting + 3):
            hooks.tell(firing(number), fires=True)
        await trio.sleep(0.5)

    log, counts = await run(pager, act)
    early = [fields["alert"] for _, fields in log.told[:3]]
    assert early == ["A0", "A1", "A2"]
    assert log.told[0][1]["why"] == f"over {ALERTS.max_waiting} alerts wait for it"
    assert log.told[-1][1]["why"] == "the run ended first"
    assert counts == {"sent": 0.0, "dropped": ALERTS.max_waiting + 3.0}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://pager.example/x", "plain HTTP"),
        ("pager:80", "plain HTTP"),
        ("http://", "plain HTTP"),
        ("http://a:b@host/", "understood"),
        ("http://host/a b", "understood"),
        ("http://host:99999/", "no address"),
        ("http://host:0/", "understood"),
        ("http://host/\x01", "understood"),
        ("http://host/a\tb", "understood"),
        ("http://ho\x00st/", "understood"),
        ("http://host/\x7f", "understood"),
        ("http://pager..example/", "no address"),
        (f"http://{'x' * 64}.example/", "no address"),
    ],
)
def test_an_address_that_is_not_understood_is_refused(url: str, why: str):
    with pytest.raises(ValueError, match=why):
        Address.parse(url)


async def test_it_is_posted_over_the_network_and_the_status_is_heard():
    heard: list[bytes] = []

    async def answer(stream: trio.SocketStream) -> None:
        heard.append(await stream.receive_some())
        await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, answer, [listener])
        port = listener.socket.getsockname()[1]
        hook = Address.parse(f"http://127.0.0.1:{port}/hook?key=1")
        assert await post_json(hook.host, hook.port, hook.target, b'{"a": 1}') == 204
        nursery.cancel_scope.cancel()
    assert heard[0].startswith(b"POST /hook?key=1 HTTP/1.1\r\n") and heard[0].endswith(b'{"a": 1}')
    for host in ("127.0.0.1", "pager..example"):
        with pytest.raises(OSError):
            await post_json(host, port, "/", b"{}")
