"""Nodes in processes that somebody else starts: `emu node`, and what `emu up --join-at` says."""

from __future__ import annotations

import ipaddress
import os
import random
import secrets
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from emu import state
from emu.cli import output
from emu.cli.files import duration_s
from protocols.numerals import whole

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.processes.join import Guest
    from emu.processes.joining import Joined

TOKEN_VARIABLE: Final = "EMU_JOIN_TOKEN"
LOOPBACK: Final = "127.0.0.1"
LOOPBACK_NET: Final = "127."
AUTO: Final = "auto"
MOST_TOKEN_BYTES: Final = 1024

JoinAtOption = Annotated[
    str,
    typer.Option(
        "--join-at",
        metavar="[HOST:]PORT",
        help="Let nodes run in processes of their own, which come by `emu node`; port 0: any.",
    ),
]
JoinedOption = Annotated[
    str,
    typer.Option("--joined", metavar="TARGET", help="Which nodes; `all`: whatever serves."),
]


def address_of(option: str, text: str, *, least_port: int = 1) -> tuple[str, int]:
    """HOST:PORT, or PORT of this computer."""
    host, _, number = text.rpartition(":")
    port = whole(number)
    if port is None or not least_port <= port < 65536:
        output.fail(f"{option}: `{text[:80]}` is no HOST:PORT", output.USAGE)
    return host or LOOPBACK, port


def own_address_of(text: str) -> tuple[str, int]:
    """Where `--join-at` is: an address of this computer, by which others find it if it is to be
    found; `auto` is what this computer's name means."""
    host, port = address_of("--join-at", text, least_port=0)
    if host == AUTO:
        try:
            host = socket.gethostbyname(socket.gethostname())
        except OSError as error:
            output.fail(f"--join-at: this computer's name means nothing: {error}", output.USAGE)
        if host.startswith(LOOPBACK_NET):
            output.fail(f"--join-at: this computer's name means {host}; say HOST", output.USAGE)
    try:
        address = ipaddress.IPv4Address(host)
    except ValueError:
        output.fail(f"--join-at: `{host[:80]}` is no IPv4 address", output.USAGE)
    if address.is_unspecified or address.is_multicast:
        output.fail(f"--join-at: at {host} nobody finds it: say which address it is", output.USAGE)
    return host, port


def joined_of(topology: Topology, words: str, host: str) -> Joined:
    """Which nodes `--joined` means; `emu node` brings them with the token. `host`: of the door."""
    from emu.processes.door import LEAST_TOKEN
    from emu.processes.joining import Joined, candidates_of
    from emu.running.targets import TargetError, resolve
    from emu.versions import complete

    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(32)
    if len(token) < LEAST_TOKEN:
        output.fail(f"${TOKEN_VARIABLE} has fewer than {LEAST_TOKEN} characters", output.USAGE)
    placements = topology.placements()
    try:
        found = resolve(words, candidates_of(placements), random.Random(words), machines=True)
    except TargetError as error:
        output.fail(f"--joined: {error}", output.USAGE)
    judged = {each.spec.name for each in placements if each.kind.clients}.intersection(found)
    if judged and not host.startswith(LOOPBACK_NET):
        output.fail(
            f"--joined: {sorted(judged)[0]} is judged by emu's own clock, and runs where emu does: "
            f"at {host} nodes come from other computers, too. Leave its tier out",
            output.USAGE,
        )
    names = frozenset(found)
    tiers = frozenset(
        tier.name for tier in topology.tiers if tier.members and names.issuperset(tier.node_names)
    )
    return Joined(token, names, tiers, complete(), topology.name)


def node(
    nodes: Annotated[
        list[str], typer.Argument(metavar="NODE...", help="Which: `web-1`, a tier, `all`.")
    ],
    join: Annotated[
        str, typer.Option("--join", metavar="[HOST:]PORT", help="Where `emu up --join-at` is.")
    ],
    token_file: Annotated[
        str,
        typer.Option(
            "--token-file",
            metavar="FILE",
            help=f"The token; else ${TOKEN_VARIABLE}, or that of this computer's run.",
        ),
    ] = "",
    data: Annotated[
        str, typer.Option("--data", metavar="DIR", help="Where disks are; else with the run's.")
    ] = "",
    wait: Annotated[
        str, typer.Option("--wait", metavar="TIME", help="Knock so long if nobody answers.")
    ] = "0s",
    health: Annotated[
        str,
        typer.Option(
            "--health",
            metavar="DIR",
            help="Touch the file `alive` there, and have `ready` while its nodes accept work.",
        ),
    ] = "",
    source: Annotated[str, typer.Option("--from", hidden=True)] = "",
) -> None:
    """Run nodes of a cluster in this process, until that ends or Ctrl-C.

    Ctrl-C stops them in order; again: at once. A `kill -9` of it is a kill of its nodes.
    """
    from emu.processes.door import DoorError
    from emu.processes.join import Guest, Visit
    from emu.versions import complete

    host, port = address_of("--join", join)
    visit = Visit(
        " ".join(nodes), host, port, _token(token_file, f"{host}:{port}"), complete(),
        patience_s=duration_s("--wait", wait) or 0.0, source=source,
        data=Path(data).absolute() if data else None, health=Path(health) if health else None,
    )  # fmt: skip
    guest = Guest(visit, _told)
    why = ""
    try:
        why = _run(guest)
    except* (DoorError, OSError) as group:
        why = "; ".join(map(str, output.leaves(group)))
    if why:
        output.fail(why)


def _told(answer: dict[str, Any]) -> None:
    names = list(answer.get("nodes") or ())
    more = int(answer.get("count") or 0) - len(names)
    shown = ", ".join(map(str, names)) + (f" and {more} more" if more > 0 else "")
    output.note(f"joined `{answer.get('cluster', '')}`: {shown} (pid {os.getpid()})")


def _token(path: str, address: str) -> str:
    if not path and TOKEN_VARIABLE in os.environ:
        return os.environ[TOKEN_VARIABLE]
    if not path:
        here = [each["folder"] for each in state.running() if each.get("join") == address]
        if not here:
            output.fail(
                f"no run of this computer lets nodes join at {address}: is that its address? For "
                f"another computer's give its token by --token-file or ${TOKEN_VARIABLE}",
                output.USAGE,
            )
        path = str(Path(here[0], state.TOKEN))
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(MOST_TOKEN_BYTES).strip()
    except (OSError, ValueError) as error:
        output.fail(f"cannot read the token in {path}: {error}", output.USAGE)


def _run(guest: Guest) -> str:
    """Gives why it ended, "" where that was in order."""
    import trio

    asked = False

    async def main() -> str:
        token = trio.lowlevel.current_trio_token()

        def on_signal(number: int, frame: object) -> None:
            nonlocal asked
            if asked:
                os._exit(output.INTERRUPTED)
            asked = True
            token.run_sync_soon(guest.leave)

        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, on_signal)
        return await guest.run()

    return trio.run(main, strict_exception_groups=True)
