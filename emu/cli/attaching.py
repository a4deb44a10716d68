"""A run elsewhere as if it were here: `emu attach` stands in for its control socket and its page,
and `emu bridge`, beside the run, hands over what comes through. Whatever can start a program there
carries it (kubectl exec, podman exec, ssh), and says who may."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from emu import state
from emu.cli import output
from emu.cli.joining import LOOPBACK
from emu.control.client import ControlClient, ControlError
from protocols.errors import RpcError

if TYPE_CHECKING:
    import trio

    from nodes.base import Stream

PAGE: Final = "--page"
MOST_AT_A_TIME: Final = 32
"""Verbs (and of the page connections) that are under way; further ones are closed at once."""
PIECE_BYTES: Final = 65536
INFO_S: Final = 30.0


def bridge(
    name: Annotated[str, typer.Argument(metavar="CLUSTER", help="Which run of this computer.")],
    page: Annotated[bool, typer.Option(PAGE, help="Its page, instead.")] = False,
) -> None:
    """Join a run's control socket with stdin and stdout: what `emu attach` starts beside it."""
    folder = state.root() / name
    try:
        end = _to_page(folder) if page else _to_control(folder)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        output.fail(f"no run called `{name}` is here ({folder}: {why})")
    with end:
        threading.Thread(target=_hand_in, args=(end,), daemon=True).start()
        while data := end.recv(PIECE_BYTES):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()


def _to_control(folder: Path) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    try:
        end.connect(str(folder / state.SOCKET))
    except OSError:
        end.close()
        raise
    return end


def _to_page(folder: Path) -> socket.socket:
    found = urlsplit(state.facts_of(folder)["observe"])
    return socket.create_connection((found.hostname, found.port))


def _hand_in(end: socket.socket) -> None:
    with suppress(OSError):
        while data := os.read(0, PIECE_BYTES):
            end.sendall(data)
        end.shutdown(socket.SHUT_WR)


def attach(
    name: Annotated[str, typer.Argument(metavar="CLUSTER", help="What the run is called.")],
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND...", help="How to start `emu bridge` there.")
    ],
) -> None:
    """Let `emu ps`, `top`, `kill`, all other verbs, and a browser look at a run elsewhere.

    Until Ctrl-C, or the end of the run.

    `emu attach shop -- kubectl -n shop exec -i emu-0 -- emu bridge shop`; ssh, podman and docker
    do as well. Each verb starts the command once.
    """
    import trio

    try:
        folder = state.claim(name, temporary=True)
    except state.StateError as error:
        output.fail(str(error))
    problem = ""
    try:
        trio.run(_attach, name, folder, command)
    except* (ControlError, RpcError, OSError) as group:
        problem = "; ".join(map(str, output.leaves(group)))
    finally:
        folder.release()
    if problem:
        output.fail(f"`{shlex.join(command)}`: {problem}")


async def _attach(name: str, folder: state.StateFolder, command: list[str]) -> None:
    import trio

    from emu.control.unix import UnixListener

    (page,) = await trio.open_tcp_listeners(0, host=LOOPBACK)
    listener = UnixListener(folder.socket)
    async with page, listener, trio.open_nursery() as nursery:
        nursery.start_soon(_accept, listener, command, nursery)
        facts = await trio.to_thread.run_sync(_info, folder.socket)
        nursery.start_soon(_accept, page, [*command, PAGE], nursery)
        here = f"http://{LOOPBACK}:{page.socket.getsockname()[1]}"
        told = {"name": name, "pid": os.getpid(), "attached": True, "observe": here}
        told["page"] = facts["page"].replace(facts["observe"], here, 1)
        folder.describe({**facts, **told})
        count = facts.get("nodes")
        output.note(f"attached to `{name}`: {count} nodes. `emu ps -c {name}`; Ctrl-C ends this")
        output.note(f"its page: {told['page']}")
        nursery.start_soon(_end_with_it, name, command, nursery.cancel_scope)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                nursery.cancel_scope.cancel()


async def _end_with_it(name: str, command: list[str], scope: trio.CancelScope) -> None:
    """A bridge that nobody uses stays open as long as the run."""
    import trio

    process = await trio.lowlevel.open_process(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        while await process.stdout.receive_some(PIECE_BYTES):
            pass
        output.note(f"`{name}` has ended")
        scope.cancel()
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


def _info(path: Path) -> dict[str, Any]:
    with ControlClient(path, timeout_s=INFO_S) as client:
        return dict(client.call("info"))


async def _accept(listener: Any, command: list[str], nursery: trio.Nursery) -> None:
    import trio

    limit = trio.Semaphore(MOST_AT_A_TIME)
    while True:
        stream = await listener.accept()
        try:
            limit.acquire_nowait()
        except trio.WouldBlock:
            await stream.aclose()
            continue
        nursery.start_soon(_carry, stream, command, limit)


async def _carry(stream: Stream, command: list[str], limit: trio.Semaphore) -> None:
    """One verb's connection, by a process of its own. What that says on stderr is shown."""
    import trio

    try:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except OSError as error:
        output.note(f"emu: cannot start {command[0]}: {error.strerror}")
        limit.release()
        await stream.aclose()
        return
    try:
        async with trio.open_nursery() as nursery:
            assert process.stdin is not None and process.stdout is not None
            nursery.start_soon(_copy, stream, process.stdin)
            await _copy(process.stdout, stream)
            nursery.cancel_scope.cancel()
    finally:
        limit.release()
        with suppress(ProcessLookupError):
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
            await trio.aclose_forcefully(stream)


async def _copy(source: Any, target: Any) -> None:
    """Until either ends."""
    import trio

    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        while data := await source.receive_some(PIECE_BYTES):
            await target.send_all(data)
        if hasattr(target, "aclose") and not hasattr(target, "send_eof"):
            await target.aclose()
