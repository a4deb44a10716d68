"""A stream hands over what arrives without waking whoever waits, and nothing else changes by it."""

from __future__ import annotations

from contextvars import ContextVar

import pytest
import trio

from tests.conformance.conftest import connected, life_of, start, turns

WHOSE: ContextVar[str] = ContextVar("whose", default="nobody")


async def until(condition) -> None:
    """Live, a byte takes its time."""
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110
            await trio.sleep(0.001)


async def take_into(taken: list[bytes], stream) -> None:
    """All that comes, and b"" at the end."""

    def take(data) -> bool:
        taken.append(bytes(data))
        return bool(data)

    await stream.receive_each(take)


async def test_pieces_come_in_order_until_they_are_not_wanted_and_the_rest_stays(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        taken: list[bytes] = []

        def take(data) -> bool:
            taken.append(bytes(data))
            return data != b"three"

        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.receive_each, take)
            for count, piece in enumerate((b"one", b"two", b"three"), 1):
                await near.send_all(piece)
                await until(lambda count=count: len(taken) == count)
        await near.send_all(b"four")
        assert await far.receive_some() == b"four"
        assert taken == [b"one", b"two", b"three"]


async def test_the_end_is_handed_over_as_no_bytes(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        taken: list[bytes] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_into, taken, far)
            await near.send_all(b"all")
            await until(lambda: taken)
            await near.send_eof()
        assert taken == [b"all", b""]


async def test_a_reset_is_raised_where_the_stream_is_read(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(near.send_all, b"first")
            with pytest.raises(trio.BrokenResourceError):
                await far.receive_each(lambda data: not near.abort())


async def test_what_the_taker_raises_ends_the_wait(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        taken: list[bytes] = []

        def take(data) -> bool:
            taken.append(bytes(data))
            if len(taken) == 2:
                raise LookupError("not this one")
            return True

        async def send_two() -> None:
            await near.send_all(b"one")
            await until(lambda: taken)
            await near.send_all(b"two")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send_two)
            with pytest.raises(LookupError):
                await far.receive_each(take)


async def test_a_paused_node_takes_nothing_until_it_resumes(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        life, taken = life_of(world, "server-1"), []
        async with trio.open_nursery() as nursery:
            await start(nursery, life, lambda: take_into(taken, far))
            await near.send_all(b"one")
            await until(lambda: taken)
            life.pause()
            await near.send_all(b"two")
            await trio.sleep(0.02)
            assert taken == [b"one"]
            life.resume()
            await until(lambda: taken == [b"one", b"two"])
            life.end(crash=False)


async def test_a_dead_node_takes_nothing(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        life, taken = life_of(world, "server-1"), []
        async with trio.open_nursery() as nursery:
            await start(nursery, life, lambda: take_into(taken, far))
            await near.send_all(b"one")
            await until(lambda: taken)
            near.send_nowait(b"two")
            life.end(crash=True)
            await trio.sleep(0.02)
        assert taken == [b"one"]


async def test_the_taker_runs_in_the_callers_context_and_so_does_what_it_starts(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        seen: list[str] = []

        async def note() -> None:
            seen.append(WHOSE.get())

        async def serve(nursery: trio.Nursery) -> None:
            WHOSE.set("the server's")

            def take(data) -> bool:
                nursery.start_soon(note)
                return bool(data)

            await far.receive_each(take)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, nursery)
            for count in (1, 2, 3):
                await near.send_all(b"x")
                await until(lambda count=count: len(seen) == count)
            nursery.cancel_scope.cancel()
        assert seen == ["the server's"] * 3


async def test_an_answer_given_on_the_way_leaves_before_what_a_task_sends_next(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        begun: list[bytes] = []

        def take(data) -> bool:
            begun.append(bytes(data))
            assert far.send_nowait(b"first ") == 6
            return len(begun) < 2

        async def serve() -> None:
            await far.receive_each(take)
            await far.send_all(b"last")
            await far.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await near.send_all(b"one")
            await until(lambda: begun)
            await near.send_all(b"two")
            got = b""
            while data := await near.receive_some():
                got += data
        assert got == b"first first last"


async def test_an_answer_longer_than_the_kernel_takes_arrives_whole(make_world):
    answer = bytes(range(256)) * 250
    async with make_world() as world, connected(world) as (_, _, near, far):
        sent = 0

        def take(data) -> bool:
            nonlocal sent
            while data and (now := far.send_nowait(answer)) == len(answer):
                sent += now
            sent += now if data else 0
            return False

        async with trio.open_nursery() as nursery:
            nursery.start_soon(far.receive_each, lambda data: data == b"wait" or take(data))
            await near.send_all(b"wait")
            await turns(3)
            await near.send_all(b"go")
            await until(lambda: sent)
        await far.send_eof()
        got = b""
        while data := await near.receive_some():
            got += data
        assert len(got) == sent
        assert got == (answer * (sent // len(answer) + 1))[:sent]


async def test_after_arrivals_comes_before_any_task_of_the_node(make_world):
    async with make_world() as world, connected(world) as (_, server, near, far):
        events: list[str] = []

        def take(data) -> bool:
            events.append("taken")
            server.network.after_arrivals(lambda: events.append("after"))
            return events.count("taken") < 2

        async def serve() -> None:
            await far.receive_each(take)
            events.append("task")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await near.send_all(b"x")
            await until(lambda: len(events) == 2)
            await near.send_all(b"x")
        assert events == ["taken", "after", "taken", "after", "task"]


class TakesHalf:
    """A socket whose kernel takes half of what it is given first, and all after that."""

    def __init__(self, sock) -> None:
        self._sock = sock
        self._is_first = True

    def send(self, data) -> int:
        half, self._is_first = self._is_first, False
        return self._sock.send(data[: len(data) // 2] if half else data)

    def __getattr__(self, name: str):
        return getattr(self._sock, name)


async def test_two_answers_given_on_the_way_keep_their_order_in_a_full_buffer(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        taken: list[bytes] = []

        def take(data) -> bool:
            taken.append(bytes(data))
            if len(taken) == 2:
                if world.name == "live":
                    far._sock = TakesHalf(far._sock)
                assert far.send_nowait(b"first ") == 6
                assert far.send_nowait(b"second") == 6
            return len(taken) < 2

        async def serve() -> None:
            await far.receive_each(take)
            await far.send_eof()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await near.send_all(b"one")
            await until(lambda: taken)
            await trio.sleep(0.01)  # it waits
            await near.send_all(b"two")
            got = b""
            while data := await near.receive_some():
                got += data
        assert got == b"first second"


async def test_a_taker_may_close_the_stream(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        await near.send_all(b"one")
        with pytest.raises(trio.ClosedResourceError):
            await far.receive_each(lambda data: far.abort() is None)


async def test_what_was_closed_after_it_was_read_says_so(make_world):
    async with make_world() as world, connected(world) as (_, _, near, far):
        await near.send_all(b"one")
        assert await far.receive_some() == b"one"
        await far.aclose()
        with pytest.raises(trio.ClosedResourceError):
            await far.receive_some()
