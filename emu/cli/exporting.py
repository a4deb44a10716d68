"""`emu export`: a topology for Kubernetes, or for podman."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from emu.cli import output
from emu.cli.attach import one_of_these
from emu.cli.files import FileArgument, SetOption, default_file, read_topology

if TYPE_CHECKING:
    from emu.export.manifests import Export
    from emu.model.topology import Topology

TARGETS: Final = ("kubernetes",)
MOST_PARTS: Final = 1000
MOST_CONFIG_BYTES: Final = 1 << 20
"""Of a ConfigMap."""


def export(
    target: Annotated[
        str,
        typer.Argument(
            metavar="kubernetes", help="What for.", autocompletion=one_of_these(*TARGETS)
        ),
    ],
    file: FileArgument = "",
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="DIR", help="Write files there; else to stdout.")
    ] = "",
    pods: Annotated[
        bool, typer.Option("--pods", help="Bare pods, as `podman kube play` takes them.")
    ] = False,
    campaign: Annotated[
        bool, typer.Option("--campaign", help="An Indexed Job that simulates seeds, instead.")
    ] = False,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Of the campaign.")] = 1000,
    parts: Annotated[
        int, typer.Option("--parts", min=1, max=MOST_PARTS, help="Pods of the campaign.")
    ] = 4,
    image: Annotated[
        str, typer.Option("--image", help="Built from the project's Dockerfile.")
    ] = "emu:0.1.0",
    settings: SetOption = None,
) -> None:
    """Write what a Kubernetes cluster runs a topology by: a pod for each node, and one for emu.

    What cannot be carried over is said. Clients and users are in emu's pod.
    """
    from emu.export import files

    if target not in TARGETS:
        output.fail(f"`{target[:40]}` is not one of {', '.join(TARGETS)}", output.USAGE)
    if pods and campaign:
        output.fail("--pods and --campaign: one or the other", output.USAGE)
    changed = tuple(settings or ())
    topology = read_topology(file or default_file(), settings=changed)
    found = _export(topology, image, changed)
    if campaign:
        if seeds < parts:
            output.fail(f"--parts {parts}: there are only {seeds} seeds", output.USAGE)
        written = files.job(found, seeds=seeds, parts=parts)
    else:
        written = files.podman(found) if pods else files.kubernetes(found)
        for each in files.not_carried(found):
            output.note(f"not carried over: {each}", style="yellow")
    if out:
        _write(Path(out), written)
        output.note(f"{len(written)} files in {out}; {files.README} says what to do with them")
        return
    output.line("".join(text for name, (text, _) in written.items() if name != files.README))


def _export(topology: Topology, image: str, settings: tuple[str, ...]) -> Export:
    from emu.export.manifests import EMU, NOTHING_ELSE, Export

    path = Path(topology.path)
    texts = {}
    for each in (path, *map(Path, topology.code)):
        try:
            inside = each.resolve().relative_to(path.resolve().parent)
            texts[inside.as_posix()] = each.read_text(encoding="utf-8")
        except ValueError:
            output.fail(f"{each} is not beside {path}: pods find code there only")
        except OSError as error:
            output.fail(f"cannot read {each}: {error.strerror}")
    size = sum(len(text.encode()) for text in texts.values())
    if size > MOST_CONFIG_BYTES:
        output.fail(f"{path} and its code have {size:,} bytes; a ConfigMap holds 1 MiB")
    names = [tier.name for tier in topology.tiers]
    taken = {EMU, NOTHING_ELSE, *(f"{tier.name}-public" for tier in topology.tiers if tier.public)}
    for name in taken.intersection(names):
        output.fail(f"a tier is called `{name}`, as something else in the cluster is: rename it")
    found = Export(topology, texts, image, secrets.token_urlsafe(32), settings)
    if not found.joined:
        output.fail(f"{path} has no nodes that serve: nothing to run in pods")
    return found


def _write(folder: Path, written: dict[str, tuple[str, int]]) -> None:
    """Into an empty folder: what else is there would be applied, too."""
    try:
        if folder.is_dir() and any(folder.iterdir()):
            output.fail(f"{folder} is not empty: name another folder", output.USAGE)
        folder.mkdir(parents=True, exist_ok=True)
        for name, (text, mode) in written.items():
            fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            with open(fd, "w", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        output.fail(f"cannot write {folder}: {error.strerror}")
