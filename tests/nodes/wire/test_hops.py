"""The way of a request: each hop's time is its own, and no header makes it more than it is."""

from __future__ import annotations

import pytest

from nodes.wire.hops import MOST_BYTES, MOST_HOPS, Hop, Hops, decoded, encoded

WEB = Hop("web-1", "web", "200", "route home", 0.2)


def test_whoever_only_passes_bytes_on_is_a_hop_of_the_time_that_is_left():
    hops = Hops(0.0)
    hops.say("MISS", "nothing is stored")
    hops.asked("lb-1", 1.0, 1.5, encoded([WEB]))
    assert hops.ended("edge-1", "edge", 2.0) == [
        Hop("edge-1", "edge", "MISS", "nothing is stored", 1.5),
        Hop("lb-1", "lb", "passed to web-1", "byte for byte", 0.3),
        WEB,
    ]


def test_the_way_to_a_hop_is_its_own():
    hops = Hops(0.0)
    hops.asked("web-1", 0.0, 1.0, encoded([WEB]))
    assert hops.ended("edge-1", "edge", 1.0)[1].time_s == pytest.approx(1.0)


def test_calls_to_one_node_are_one_hop_and_those_at_a_time_count_once():
    hops = Hops(0.0)
    hops.called("db-1", "query", 0.0, 1.0, "")
    hops.called("kv-shard-1-2", "get", 0.5, 1.5, "timeout")
    hops.called("db-1", "query", 2.0, 3.0, "")
    hops.called("db-1", "exec", 3.0, 3.5, "")
    hops.called("directory", "watch", 3.5, 4.0, "")
    assert hops.ended("web-1", "web", 4.0)[1:] == [
        Hop("db-1", "db", "query, exec", "asked 3 times", 2.5),
        Hop("kv-shard-1-2", "kv-shard-1", "get: timeout", "asked once", 0.5),
    ]


def test_all_times_add_up_to_the_whole():
    hops = Hops(0.0)
    hops.called("db-1", "query", 0.1, 0.4, "")
    hops.asked("lb-1", 0.3, 0.9, encoded([WEB]))
    assert sum(hop.time_s for hop in hops.ended("edge-1", "edge", 1.0)) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "text", ["", "{}", "[", "[1]", '[["a"]]', "[" * 9999, "x" * (MOST_BYTES + 1)]
)
def test_a_header_that_tells_no_way_tells_nothing(text):
    assert decoded(text) == []


def test_a_way_without_end_is_cut():
    many = [WEB._replace(why="w" * 200)] * 1000
    assert len(decoded(encoded(many))) <= MOST_HOPS
    hops = Hops(0.0)
    for number in range(200):
        hops.called(f"db-{number}", "query", 0.0, 1.0, "")
    assert len(hops.ended("web-1", "web", 1.0)) == MOST_HOPS + 1
