"""An address, or a subnet of any length, has a place; and the answer says how far that holds."""

from __future__ import annotations

import random
from ipaddress import ip_network

import pytest

from nodes.dns.networks import Networks

DECLARED = {
    "us": ["198.51.0.0/16", "2001:db8:1::/48"],
    "eu": ["198.51.100.0/24", "203.0.113.0/25"],
    "ap": ["198.51.100.64/26"],
}


@pytest.mark.parametrize(
    ("subnet", "place", "scope"),
    [
        ("198.51.7.0/24", "us", 24),
        ("198.51.0.0/16", "us", 32),  # parts of it are elsewhere
        ("198.51.100.0/24", "eu", 32),
        ("198.51.100.0/26", "eu", 26),
        ("198.51.100.77/32", "ap", 32),
        ("198.51.100.64/26", "ap", 26),
        ("203.0.113.0/24", "eu", 24),  # of half of it nothing is known
        ("203.0.113.128/25", "", 25),
        ("192.0.2.0/24", "", 24),
        ("2001:db8:1:2::/64", "us", 64),
        ("2001:db8::/32", "us", 32),
        ("0.0.0.0/0", "eu", 32),
    ],
)
def test_the_smallest_network_around_a_subnet_decides(subnet: str, place: str, scope: int) -> None:
    assert Networks(DECLARED).find(ip_network(subnet)) == (place, scope)


def test_our_own_nodes_are_where_they_are() -> None:
    networks = Networks(DECLARED)
    networks.set_nodes({"198.51.100.65": "us", "127.9.0.1": "eu"})
    places = ("198.51.100.65", "127.9.0.1", "198.51.100.66", "127.9.0.2")
    assert [networks.place_of(each) for each in places] == ["us", "eu", "ap", ""]
    assert networks.find(ip_network("198.51.100.64/26")) == ("ap", 32)


def test_what_an_answer_says_of_its_scope_holds_for_every_address_in_it() -> None:
    rng, networks = random.Random(3), Networks(DECLARED)
    for _ in range(2000):
        bits = rng.randint(10, 32)
        host = int(ip_network("198.51.100.0/24").network_address) ^ rng.getrandbits(18)
        subnet = ip_network((host >> (32 - bits) << (32 - bits), bits))
        place, scope = networks.find(subnet)
        if scope == bits and place:
            inside = [networks.place_of(str(subnet[rng.randrange(subnet.num_addresses)]))
                      for _ in range(5)]  # fmt: skip
            assert set(inside) <= {place, ""}, (subnet, inside)
