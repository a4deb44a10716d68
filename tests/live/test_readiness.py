"""A socket that stays registered tells of bytes and ends once; nothing that came is slept over."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from emu.live.readiness import Reader, Readiness
from emu.live.timers import HOG_S

pytestmark = pytest.mark.skipif(not Readiness.available, reason="epoll is Linux's")


@asynccontextmanager
async def watched(
    held: list[tuple[trio.lowlevel.Task, float]] | None = None,
) -> AsyncIterator[tuple[Reader, socket.socket, socket.socket]]:
    """(reader, its socket, the other end); `held` is who held the loop for long, and how long."""
    held = [] if held is None else held
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        async with trio.open_nursery() as nursery:
            readiness = Readiness()
            nursery.start_soon(readiness.run, lambda task, seconds: held.append((task, seconds)))
            yield Reader(readiness, ours), ours, theirs
            nursery.cancel_scope.cancel()


async def test_what_came_before_the_first_wait_ends_it() -> None:
    async with watched() as (reader, ours, theirs):
        theirs.send(b"early")
        with trio.fail_after(5):
            await reader.wait()
        assert ours.recv(99) == b"early"


async def test_an_end_that_came_with_the_last_bytes_is_heard_after_them() -> None:
    async with watched() as (reader, ours, theirs):
        theirs.send(b"last")
        theirs.close()
        with trio.fail_after(5):
            await reader.wait()
            assert ours.recv(99) == b"last"
            await reader.wait()
            assert ours.recv(99) == b""
            await reader.wait()


async def test_a_wait_that_was_cancelled_does_not_lose_what_comes_next() -> None:
    async with watched() as (reader, ours, theirs):
        with trio.move_on_after(0.01) as scope:
            await reader.wait()
        assert scope.cancelled_caught
        theirs.send(b"later")
        with trio.fail_after(5):
            await reader.wait()
        assert ours.recv(99) == b"later"


async def test_whoever_waits_is_woken_when_the_socket_is_closed() -> None:
    async with watched() as (reader, ours, _), trio.open_nursery() as nursery:
        nursery.start_soon(reader.wait)
        await trio.sleep(0.01)
        reader.close()
        reader.close()
        ours.close()


async def test_a_taker_that_holds_the_loop_is_told_as_the_task_that_waits() -> None:
    held: list[tuple[trio.lowlevel.Task, float]] = []
    async with watched(held) as (reader, ours, theirs):

        def take() -> bool:
            ours.recv(99)
            time.sleep(2 * HOG_S)
            return False

        theirs.send(b"slow")
        with trio.fail_after(5):
            await reader.wait()  # what came before anybody waited is for the task to read
            ours.recv(99)
            theirs.send(b"slow")
            await reader.wait_while(take)
        ((task, seconds),) = held
        assert task is trio.lowlevel.current_task()
        assert seconds >= 2 * HOG_S
