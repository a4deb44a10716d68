"""The site's name: users ask for what their DNS tier gives out, or the file is refused."""

from __future__ import annotations

from typing import Any

import pytest

from emu.model.problems import TopologyError
from emu.topology.loading import loads

SHOP = """
tiers:
  dns: {kind: dns, public: true, zone: shop.test, answers: web, names: [api]}
  web: {kind: web, public: true}
  api: {kind: web, public: true}
users: {local: {rate: 10/s, visits: web, resolver: dns%s}}
"""


def host_of(text: str) -> Any:
    return loads(text).tier("users-local").config.host


def test_users_ask_for_the_site_of_their_zone() -> None:
    assert host_of(SHOP % "") == "www.shop.test"


@pytest.mark.parametrize(
    "name", ["shop.test", "WWW.Shop.Test.", "web.shop.test", "web-1.shop.test", "api.shop.test"]
)
def test_a_name_of_the_zone_may_be_asked_for(name: str) -> None:
    assert host_of(SHOP % f", host: {name}") == name


@pytest.mark.parametrize("name", ["www.example.test", "nothing.shop.test", "a b.shop.test"])
def test_a_name_that_nobody_gives_out_is_a_mistake(name: str) -> None:
    with pytest.raises(TopologyError) as caught:
        loads(SHOP % f", host: {name}")
    (problem,) = caught.value.problems
    assert "`host`" in problem.message and problem.line == 6
    if " " not in name:
        assert "leave it out, or choose from www.shop.test, shop.test, web.shop" in problem.message


def test_without_a_resolver_any_name_will_do() -> None:
    text = SHOP.replace(", resolver: dns", "")
    assert (host_of(text % ""), host_of(text % ", host: a.b")) == ("", "a.b")


def test_a_zone_with_a_mistake_is_the_only_one_told() -> None:
    with pytest.raises(TopologyError) as caught:
        loads(SHOP.replace("zone: shop.test", "zone: 'sh op'") % "")
    assert len(caught.value.problems) == 1


def with_resolver(hosts: str) -> Any:
    resolver = f"\n  near: {{kind: resolver, public: true, asks: dns, hosts: {hosts}}}"
    text = SHOP.replace("\n  api:", f"{resolver}\n  api:").replace(
        "resolver: dns", "resolver: near"
    )
    return host_of(text % "")


def test_users_ask_for_the_first_name_that_their_resolver_is_to_find() -> None:
    assert with_resolver("[api.shop.test, shop.test]") == "api.shop.test"
    assert with_resolver("[]") == "www.shop.test"


@pytest.mark.parametrize("name", ["www.nobody.test", "shop", "a..b", "' '", "nothing.shop.test"])
def test_a_resolver_finds_no_name_that_its_dns_tier_does_not_give_out(name: str) -> None:
    with pytest.raises(TopologyError) as caught:
        with_resolver(f"[shop.test, {name}]")
    (problem,) = caught.value.problems
    assert "`hosts`" in problem.message and problem.line == 5
