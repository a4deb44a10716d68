"""Options at their extremes: what no cluster could live with is refused in the file."""

from __future__ import annotations

import pytest

from emu.model.problems import TopologyError
from emu.topology.loading import loads

FILE = """
tiers:
  dns: {{kind: dns, public: true, zone: example.test, answers: lb{dns}}}
  lb: {{kind: balancer, public: true, balances: web{lb}}}
  web: {{kind: web, uses: db{web}}}
  db: {{kind: database, nodes: 3{db}}}
  kv: {{kind: kv, replicas: 1{kv}}}
  jobs: {{kind: queue{jobs}}}
  copies: {{kind: cache, fills_from: db{copies}}}
  work: {{kind: worker, takes: jobs, uses: db{work}}}
  edge: {{kind: cdn, origin: lb{edge}}}
  asks: {{kind: clients, asks: kv, workload: register{asks}}}
  people: {{kind: users, visits: lb, rate: 1/s{people}}}
"""
TIERS = ("dns", "lb", "web", "db", "kv", "jobs", "copies", "work", "edge", "asks", "people")


def loaded(**more: str) -> str:
    """The mistakes of the file with these options, or ""."""
    try:
        loads(FILE.format(**{tier: f", {more[tier]}" if tier in more else "" for tier in TIERS}))
    except TopologyError as error:
        return str(error)
    return ""


def test_the_file_itself_is_right() -> None:
    assert loaded() == ""


@pytest.mark.parametrize(
    ("tier", "option"),
    [
        *((tier, "detection_timeout: 0s") for tier in ("db", "kv", "jobs")),
        *((tier, "detection_timeout: 1ms") for tier in ("db", "kv", "jobs")),
        *((tier, "detection_timeout: 1d") for tier in ("db", "kv", "jobs")),
        *((tier, f"check_timeout: {time}") for tier in ("dns", "lb") for time in ("0s", "1ns")),
        *((tier, "timeout: 1us") for tier in ("asks", "people", "work")),
        *(("db", f"transaction_timeout: {time}") for time in ("0s", "999us")),
        *(("copies", f"max_stale: {time}") for time in ("1us", "99ms")),
        ("jobs", "topics: {t: {ack_wait: 1ns}}"),
        ("lb", "max_connections: 0"),
        *((tier, "max_body: 0B") for tier in ("web", "edge")),
        *(("lb", f"weights: {{{weights}}}") for weights in ("web-1: 0", "web: 2", "wbe-1: 2",
          "db-1: 2", "web-0: 2", "web-01: 2", "'web-²': 2")),
        ("web", "max_in_flight: 0"),
        ("edge", "max_in_flight: 0"),
        ("web", "max_head: 100B"),
        *(("kv", f"index: {path}") for path in ("..", "a..b", ".a")),
        *(("kv", f"{name}: 0s") for name in ("max_pause", "stall")),
        ("people", "sample: 0.009%"),
        *(("web", f"{name}: {time}") for name in ("timeout", "idle_timeout", "request_timeout")
          for time in ("0s", "1ns")),
        *(("lb", f"{name}: {time}") for name in ("idle_timeout", "client_fin_timeout",
          "connect_timeout", "queue_timeout", "check_interval", "check_fast_interval")
          for time in ("0s", "1us")),
        *((tier, f"{name}: 0") for tier in ("dns", "lb") for name in ("rise", "fall")),
        ("dns", "check_interval: 1ns"),
        *(("people", f"host: {name}") for name in ("' '", "a b", "/", "a..b", "'*'", "x" * 64)),
        ("people", "clients: 2147483648"),
        ("dns", "max_answers: 0"),
        ("dns", "ttl: 60000d"),
        *(("dns", f"zone: {name}") for name in ("exa mple.test", r"sh\top.test", r"shop\046te")),
    ],
)  # fmt: skip
def test_what_no_cluster_could_live_with_is_refused_where_it_is_said(
    tier: str, option: str
) -> None:
    text = loaded(**{tier: option})
    assert f"`{option.replace('topics: {t: {', '').partition(':')[0]}`" in text, text


def test_a_server_may_have_no_weight_or_be_told_of_before_it_is_there() -> None:
    assert loaded(lb="weights: {web-1: 1, web-2: 0, web-10: 5}") == ""
