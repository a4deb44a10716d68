"""One of three web servers dies, hangs, drains, comes and goes under load: what the users notice.

The same scripts run in both worlds; the users never retry, so every failure shows.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

import emu
from emu.topology.loading import loads

SITE = """
name: site
links: {defaults: {within: 300us}}
tiers:
  lb:
    kind: balancer
    public: true
    balances: web
    algorithm: least_conn
    check: http
    check_path: /health/live
    check_interval: 300ms
    check_fast_interval: 150ms
    check_timeout: 300ms
    connect_timeout: 300ms
    fall: 2
    rise: 2
    init_state: down
    close_on_down: true
    when_down: http_503
  web: {kind: web, nodes: 3, uses: db, cpu: {cores: 1, service_time: 5ms}}
  db: {kind: database}
users: {local: {clients: 12, think_time: 100ms, visits: lb, retries: 0, timeout: 1s,
                requests_per_connection: 10}}
"""
DETECTION_S = 2 * 300e-3 * 1.2 + 2 * 300e-3
"""Two checks of a silent server, each at most an interval late and a time-out long."""
BUSY_S = 10.0
USERS = "users-local-1"
both_worlds = pytest.mark.parametrize(
    "world", ["sim", pytest.param("live", marks=pytest.mark.slow)]
)
Script = Callable[[emu.Scenario], Awaitable[Any]]


def run(script: Script, world: Any, text: str = SITE) -> Any:
    return emu.run(script, loads(text), world=world)


def failures(c: emu.Scenario) -> int:
    try:
        return int(c.metrics(USERS, "user_failures_total"))
    except KeyError:
        return 0  # the series begins with the first of them


def served(c: emu.Scenario, node: str) -> float:
    """Requests of users: health checks do not count."""
    total = c.metrics(node, "requests_total")
    try:
        return total - c.metrics(node, "requests_total", method="health")
    except KeyError:
        return total


async def serves_again(c: emu.Scenario, node: str, *, within_s: float) -> None:
    """Users' requests reach the node in time; a busy laptop has more of it."""
    within_s += 0 if c.cluster.world.name == "sim" else BUSY_S
    before, give_up_s = served(c, node), c.now_s + within_s
    while served(c, node) <= before:
        assert c.now_s < give_up_s, f"{node} got no request within {within_s} s"
        await c.sleep(0.02)


@both_worlds
def test_a_killed_server_costs_only_the_requests_in_flight(world: str) -> None:
    async def script(c: emu.Scenario) -> None:
        await c.sleep(1)
        in_flight = c.metrics(USERS, "user_requests_in_flight")
        await c.kill("web-1")
        await c.until("server down", server="web-1", timeout_s=DETECTION_S + BUSY_S)
        await c.sleep(0.5)
        assert failures(c) <= in_flight
        at_once = failures(c)
        await c.start("web-1")
        await c.until("server up", server="web-1", timeout_s=BUSY_S)
        await serves_again(c, "web-1", within_s=2)
        summary = await c.finish()
        assert summary["errors"] == at_once, "only the kill itself cost something"
        assert summary["lost_acknowledged_writes"] == 0
        assert summary["requests"] > 100

    run(script, world)


@both_worlds
@pytest.mark.parametrize(("fault", "repair"), [("crash", "start"), ("pause", "unpause")])
def test_a_silent_server_costs_requests_only_until_it_is_found_out(
    world: str, fault: str, repair: str
) -> None:
    async def script(c: emu.Scenario) -> None:
        await c.sleep(1)
        await getattr(c, fault)("web-1")
        broken_s = c.now_s
        down = await c.until("server down", server="web-1", timeout_s=DETECTION_S + BUSY_S)
        if world == "sim":
            assert down["time_s"] - broken_s <= DETECTION_S
        await c.sleep(0.1)
        until_found_out = failures(c)
        assert until_found_out <= 12, "at most one request of each user hung there"
        await c.sleep(1.5)
        assert failures(c) == until_found_out, "the others carry on without an error"
        await getattr(c, repair)("web-1")
        await c.until("server up", server="web-1", timeout_s=BUSY_S)
        await serves_again(c, "web-1", within_s=2)
        summary = await c.finish()
        assert summary["errors"] == until_found_out
        assert summary["lost_acknowledged_writes"] == 0

    run(script, world)


@both_worlds
def test_an_orderly_stop_and_a_drained_server_lose_nothing(world: str) -> None:
    async def script(c: emu.Scenario) -> None:
        await c.sleep(0.5)
        await c.stop("web-1")
        await c.start("web-1")
        await c.call_admin("lb-1", "set_state", "web-2", "drain")
        await c.sleep(0.5)
        answers = await c.call_admin("lb-1", "servers")
        (drained,) = [each for each in answers["lb-1"] if each["name"] == "web-2"]
        assert drained["state"] == "drain"
        await c.call_admin("lb-1", "set_state", "web-2", "ready")
        await serves_again(c, "web-2", within_s=3)
        summary = await c.finish()
        assert (summary["errors"], summary["lost_acknowledged_writes"]) == (0, 0)
        assert summary["requests"] > 100

    run(script, world)


@both_worlds
def test_added_servers_are_used_within_a_second_and_leave_without_an_error(world: str) -> None:
    async def script(c: emu.Scenario) -> None:
        await c.sleep(0.5)
        await c.scale("web", 5)
        await serves_again(c, "web-4", within_s=1)
        await serves_again(c, "web-5", within_s=1)
        await c.scale("web", 2)
        assert [row["name"] for row in await c.ps("web")] == ["web-1", "web-2"]
        await c.sleep(0.5)
        await c.scale("web", 3)
        await serves_again(c, "web-3", within_s=1)
        summary = await c.finish()
        assert (summary["errors"], summary["errors_by_code"]) == (0, {})
        assert summary["lost_acknowledged_writes"] == 0

    run(script, world, SITE.replace("clients: 12", "clients: 20"))


@both_worlds
def test_a_node_that_comes_again_under_a_name_is_no_earlier_generation(world: str) -> None:
    async def script(c: emu.Scenario) -> None:
        await c.scale("web", 2)
        await c.scale("web", 3)
        rows = {row["name"]: row["generation"] for row in await c.ps("web")}
        assert rows == {"web-1": 1, "web-2": 1, "web-3": 2}

    run(script, world)


@pytest.mark.parametrize("fault", ["kill", "crash"])
@pytest.mark.parametrize(
    ("answer", "code"), [("http_503", "unavailable"), ("close", "disconnected")]
)
def test_with_all_servers_down_users_get_a_clear_refusal_at_once(
    fault: str, answer: str, code: str
) -> None:
    async def script(c: emu.Scenario) -> None:
        await c.sleep(0.5)
        await getattr(c, fault)("web")
        await c.until("all servers down", timeout_s=DETECTION_S)
        await c.sleep(0.5)  # who was waiting for a silent server has heard by now
        before = (await c.call_admin(USERS, "summary"))[USERS]["reasons"]
        await c.sleep(1)
        reasons = (await c.call_admin(USERS, "summary"))[USERS]["reasons"]
        new = {each: count - before.get(each, 0) for each, count in reasons.items()}
        assert new[code] > 100, "they ask again and again, and never wait"
        assert not new.get("timeout")
        await c.start("web")
        await serves_again(c, "web-1", within_s=2)
        assert (await c.finish())["lost_acknowledged_writes"] == 0

    run(script, "sim", SITE.replace("when_down: http_503", f"when_down: {answer}"))
