"""A connection that breaks the wire's rules is told so, after what it had asked for before."""

from __future__ import annotations

import trio

from nodes.wire.service import Service
from protocols import rpc
from tests.conformance.conftest import connected


async def test_a_refusal_comes_after_answers_that_are_still_being_written(make_world):
    async with make_world() as world, connected(world) as (_, server, near, far):
        service, client, answers = Service(server), rpc.Connection(), []

        async def large(call) -> str:
            await trio.lowlevel.checkpoint()
            return "x" * 1_000_000

        service.add("large", large)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.serve_stream, far)
            for msgid in (1, 2, 3):
                await near.send_all(client.send_request(msgid, "large", []))
            await trio.sleep(0.05)  # the answers fill what is between them
            await near.send_all(b"\xc1")
            await trio.sleep(0.05)
            with trio.fail_after(5):
                while data := await near.receive_some():
                    answers += client.receive_data(data)
        assert sorted(answer[1] for answer in answers[:-1]) == [1, 2, 3]
        assert answers[-1][2][0] == "bad_request"
