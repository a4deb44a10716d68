"""Where clients are, by their addresses: what a GeoDNS's address database knows. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import NamedTuple

Network = IPv4Network | IPv6Network


class _Block(NamedTuple):
    version: int
    first: int
    last: int
    bits: int
    place: str


def parsed(network: str) -> Network:
    """Raises ValueError that says what to write."""
    try:
        return ip_network(network)
    except ValueError:
        what = f"`{network[:60]}` is no network, or has bits beyond its prefix"
        raise ValueError(f"`networks`: {what}; write 198.51.100.0/24") from None


class Networks:
    """Declared networks, each in a place, and the single addresses of our own nodes."""

    def __init__(self, declared: Mapping[str, Sequence[str]]) -> None:
        """`declared`: place → its networks. Raises ValueError."""
        self._declared = [_block(parsed(each), place) for place, many in declared.items()
                          for each in many]  # fmt: skip
        self._blocks = self._declared
        self._nodes: dict[str, str] = {}

    def set_nodes(self, places: Mapping[str, str]) -> None:
        """Address → where that node of ours is."""
        self._nodes = dict(places)
        own = [_block(ip_network(address), place) for address, place in places.items()]
        self._blocks = [*self._declared, *own]

    def place_of(self, address: str) -> str:
        """Of one address; "" where nothing is known."""
        found = self._nodes.get(address)
        if found is not None:
            return found
        return self.find(ip_network(ip_address(address)))[0] if self._declared else ""

    def find(self, subnet: Network) -> tuple[str, int]:
        """The place of a client's subnet, by the smallest network that it is in, else of most that
        are in it ("": of none); and the length of the prefix for which that holds: longer than the
        subnet's own where it holds for a part of it only."""
        first, last = int(subnet.network_address), int(subnet.broadcast_address)
        around: _Block | None = None
        inside: dict[str, int] = {}
        for each in self._blocks:
            if each.version != subnet.version or each.last < first or last < each.first:
                continue
            if each.bits <= subnet.prefixlen:
                if around is None or around.bits < each.bits:
                    around = each
            else:
                inside[each.place] = inside.get(each.place, 0) + 1
        if around is not None:
            place, parts = around.place, any(other != around.place for other in inside)
        else:
            place, parts = max(inside, key=lambda it: inside[it], default=""), len(inside) > 1
        return place, subnet.max_prefixlen if parts else subnet.prefixlen


def _block(network: Network, place: str) -> _Block:
    first, last = int(network.network_address), int(network.broadcast_address)
    return _Block(network.version, first, last, network.prefixlen, place)
