"""Policies choose among regions, and among each other."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from nodes.dns.config import DnsConfig
from nodes.dns.steering import Policy, Steering, places_of
from protocols.control import Member

MEMBERS = [Member(region, "lb", "balancer", region, region, 80, True)
           for region in ("us", "eu", "ap")]  # fmt: skip
NEAR = {"eu": ["eu"], "us-west": ["ap"], "us": ["us"]}


def given(steering: Steering, asker: str = "eu", down: str = "", **how: Any) -> str:
    rng = how.pop("rng", random.Random(1))
    healthy = lambda member: member.name not in down.split()  # noqa: E731
    chosen = steering.choose(MEMBERS, asker, rng, healthy, **how)
    return " ".join(each.name for each in chosen)


def shares(steering: Steering, down: str = "", times: int = 400) -> dict[str, float]:
    rng = random.Random(1)
    counts = Counter(given(steering, down=down, rng=rng) for _ in range(times))
    return {name: count / times for name, count in counts.items()}


@pytest.mark.parametrize(
    "root",
    [
        Policy("latency"),
        Policy("latency", near={"eu": ["eu", "us"]}),
        Policy("geolocation", near={"default": ["eu"]}),
        Policy("failover", order=["eu", "us"]),
        Policy("weighted", weights={"eu": 1}),
    ],
    ids=lambda policy: f"{policy.policy}{len(policy.near)}",
)
def test_where_nobody_is_healthy_it_is_as_if_all_were(root: Policy) -> None:
    steering = Steering(root)
    assert given(steering) == "eu"
    assert given(steering, down="us eu ap") == "eu"


def test_the_nearest_of_those_that_are_left_is_told_by_how_far_they_are() -> None:
    how_far = {"us": 0.07, "ap": 0.2}
    latency = Steering(Policy("latency"))
    assert given(latency, down="eu", distance=lambda region: how_far.get(region, 9.0)) == "us"
    how_far["us"] = 0.5
    assert given(latency, down="eu", distance=lambda region: how_far.get(region, 9.0)) == "ap"


def test_the_most_specific_place_decides_and_its_elders_stand_in() -> None:
    assert list(places_of("us-west-2")) == ["us-west-2", "us-west", "us", "default"]
    steering = Steering(Policy("geolocation", near={**NEAR, "default": ["eu"]}))
    assert [given(steering, place) for place in ("us-west-2", "us-east", "us", "sa", "")] == [
        "ap", "us", "us", "eu", "eu"]  # fmt: skip
    assert given(steering, "us-west", down="ap") == "us"
    assert given(steering, "us-west", down="ap us") == "eu"


def test_without_a_default_other_places_get_no_answer() -> None:
    steering = Steering(Policy("geolocation", near=NEAR))
    assert given(steering, "sa") == given(steering, "sa", down="us eu ap") == ""
    assert given(steering, "eu", down="eu") == "eu", "as if it were healthy: there is no other"


def test_weight_0_counts_only_when_every_other_is_unhealthy() -> None:
    steering = Steering(Policy("weighted", weights={"us": 3, "eu": 1, "ap": 0}))
    found = shares(steering)
    assert found == {"us": pytest.approx(0.75, abs=0.06), "eu": pytest.approx(0.25, abs=0.06)}
    assert shares(steering, "us") == {"eu": 1}
    assert shares(steering, "us eu") == {"ap": 1}
    assert "ap" not in shares(steering, "us eu ap"), "all are down: as if all were up"
    assert set(shares(Steering(Policy("weighted")))) == {"us", "eu", "ap"}


def test_policies_stand_where_regions_may_and_fall_through_when_they_have_nothing() -> None:
    canary = Policy("weighted", weights={"eu": 1, "ap": 1})
    steering = Steering(
        Policy("geolocation", near={"eu": ["canary", "us"], "default": ["chain"]}),
        {"canary": canary, "chain": Policy("failover", order=["us", "canary"])},
    )
    assert shares(steering) == {
        "eu": pytest.approx(0.5, abs=0.08),
        "ap": pytest.approx(0.5, abs=0.08),
    }
    assert shares(steering, "eu") == {"ap": 1}
    assert shares(steering, "eu ap") == {"us": 1}
    assert given(steering, "sa") == "us"
    assert given(steering, "sa", down="us eu") == "ap"
    assert steering.by_place and steering.by_chance
    weighted = Steering(Policy("weighted", weights={"near": 0, "us": 2}), {"near": Policy()})
    assert shares(weighted) == {"us": 1}
    assert shares(weighted, "us") == {"eu": 1}, "weight 0, and the nearest"


def test_policies_that_would_have_to_look_at_too_much_are_refused() -> None:
    tower = {f"p{n}": Policy("failover", order=[f"p{n + 1}"] * 12) for n in range(6)}
    with pytest.raises(ValueError, match="each as often as it is named, name over 1000"):
        Steering(Policy("failover", order=["p0"]), tower)


def test_policies_in_a_circle_and_policies_that_send_nobody_anywhere_are_refused() -> None:
    ring = {"a": Policy("failover", order=["b"]), "b": Policy("failover", order=["us", "a"])}
    with pytest.raises(ValueError, match="`policies`: a → b → a is a circle"):
        DnsConfig("a.test", "lb", policy="failover", order=["a"], policies=ring)
    with pytest.raises(ValueError, match="say `near`"):
        DnsConfig("a.test", "lb", policy="geolocation")
    with pytest.raises(ValueError, match=r"`networks`: `10\.0\.0\.1/8` is no network"):
        DnsConfig("a.test", "lb", networks={"us": ["10.0.0.1/8"]})
