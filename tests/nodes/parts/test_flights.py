"""Of those who want the same at the same time one fetches it."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from nodes.parts.flights import Flights


async def test_one_fetches_for_all_who_want_the_same(autojump_clock: MockClock) -> None:
    flights, fetched, found = Flights[int](), list[int](), list[tuple[int, bool]]()

    async def fetch() -> int:
        fetched.append(1)
        await trio.sleep(1)
        return 7

    async def reader() -> None:
        found.append(await flights.run("k", fetch))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(reader)
    assert sorted(found) == [(7, False)] * 4 + [(7, True)] and len(fetched) == 1


async def test_when_the_one_that_fetches_is_cancelled_another_does(
    autojump_clock: MockClock,
) -> None:
    flights, fetched, found = Flights[int](), list[int](), list[tuple[int, bool]]()

    async def fetch() -> int:
        fetched.append(1)
        await trio.sleep(1)
        return 7

    async def reader() -> None:
        found.append(await flights.run("k", fetch))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.5):
            async with trio.open_nursery() as first:
                first.start_soon(reader)
                await trio.sleep(0.1)
                nursery.start_soon(reader)
                nursery.start_soon(reader)
                await trio.sleep_forever()
    assert sorted(found) == [(7, False), (7, True)] and len(fetched) == 2
    assert trio.current_time() < 2
