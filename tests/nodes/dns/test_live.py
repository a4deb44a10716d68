"""The DNS tier over real sockets, asked by dig where it is installed, and by our resolver."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

from nodes.base import DNS_PORT
from nodes.dns.config import DnsConfig
from nodes.dns.kind import DNS
from nodes.dns.node import DnsNode
from nodes.users.resolver import Resolver
from protocols import dns as wire
from tests.nodes.live_rig import LiveRig, Script, live_rig
from tests.peers import need


async def silence(stream: Any) -> None:
    await trio.sleep_forever()


async def serve(rig: LiveRig, lbs: int = 2) -> str:
    """The DNS server's address."""
    for number in range(lbs):
        await rig.boot(f"lb-{number + 1}", Script, silence, public=True)
    config = DnsConfig("example.test", "lb", check="tcp", max_answers=100)
    ctx = await rig.boot("dns-1", DnsNode, config, ports=(DNS,), public=True, dials=("lb",))
    return ctx.network.address


async def test_our_resolver_gets_addresses_over_udp_and_long_answers_over_tcp(
    tmp_path: Path,
) -> None:
    async with live_rig(tmp_path) as rig:
        address = await serve(rig)
        users = await rig.boot("users-1", Script, silence)
        with trio.fail_after(5):
            got = await Resolver(users, [address]).resolve("www.example.test")
            assert sorted(got) == sorted(rig.contexts[f"lb-{n}"].network.address for n in (1, 2))
            stream = await rig.outside.open_stream("dns-1", DNS_PORT)
            await stream.send_all(wire.frame(wire.encode_query(7, "lb.example.test")))
            (message,) = wire.TcpFrames().receive_data(await stream.receive_some(4096))
            assert wire.decode_response(message).message_id == 7


@pytest.mark.slow
async def test_dig_understands_every_answer(tmp_path: Path) -> None:
    need("dig", "dnsutils")
    async with live_rig(tmp_path) as rig:
        address = await serve(rig)

        async def dig(*words: str) -> str:
            command = ["dig", f"@{address}", "-p", str(DNS_PORT), "+tries=1", "+time=2", *words]
            done = await trio.run_process(command, capture_stdout=True)
            assert isinstance(done, subprocess.CompletedProcess)
            return bytes(done.stdout).decode()

        with trio.fail_after(20):
            found = await dig("www.example.test", "A")
            assert "status: NOERROR" in found and "ANSWER: 2" in found and " aa" in found
            assert rig.contexts["lb-1"].network.address in found
            assert "status: NXDOMAIN" in await dig("nobody.example.test")
            assert "SOA" in await dig("www.example.test", "AAAA")
            assert "status: REFUSED" in await dig("example.com")
            assert "ns.example.test" in await dig("example.test", "NS")
            assert "ANSWER: 2" in await dig("+tcp", "lb.example.test")
            assert "ANSWER: 2" in await dig("+noedns", "lb.example.test")
            assert "CLIENT-SUBNET: 127.1.2.3/32" in await dig(
                "+subnet=127.1.2.3/32", "example.test"
            )
            assert "bad packet" not in found.lower()
