"""`emu report`: a run as one HTML page. How it is drawn is observe/report.py's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from emu import state
from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, ask, meant
from emu.cli.files import read_record

if TYPE_CHECKING:
    from emu.verdict.junit import Case

DEFAULT: Final = Path("emu-report.html")
KEYS: Final = ("summary", "status", "samples", "spans")
"""What a record of a run has."""
RecordArgument = Annotated[
    str,
    typer.Argument(
        metavar="[RECORD]",
        help="What `emu report --json` gave, or the name of a cluster; none: what runs.",
    ),
]
JunitOption = Annotated[
    str,
    typer.Option("--junit", metavar="FILE", help="At the end, write the verdict as JUnit XML."),
]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="The page to write.")]


def report(
    record: RecordArgument = "",
    out: OutOption = DEFAULT,
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Write a run as one HTML page: its verdict, timeline, faults and what they cost.

    Of the cluster that runs; where none does, of the last run that ended.
    """
    if record and not os.path.exists(record) and _is_cluster(record):
        record, cluster = "", record
    last = None if record or meant(cluster) else state.last_record(cluster)
    kept = record or (str(last) if last else "")
    found = read_record(kept, KEYS, "emu report") if kept else ask(cluster, "record")
    if as_json:
        output.result(found)
    else:
        write_report(found, out)


def _is_cluster(name: str) -> bool:
    """Whether one of that name runs, or has left a record."""
    return bool(meant(name) or state.last_record(name))


def write_report(record: Mapping[str, Any] | None, out: Path) -> None:
    """Draw it and say where it is."""
    from emu.observe.report import render

    if record is None:
        output.note("no report: the run ended before it was judged", style="yellow")
        return
    try:
        out.write_text(render(record), "utf-8")
    except OSError as error:
        output.fail(f"cannot write {out}: {error.strerror}")
    output.note(f"the report of `{record['summary']['name']}` is in {out}")


def write_junit(path: str, name: str, cases: Iterable[Case], took_s: float) -> None:
    """Write a verdict for CI."""
    from emu.verdict.junit import suite

    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text(suite(name, cases, took_s), "utf-8")
    except OSError as error:
        output.fail(f"cannot write {path}: {error.strerror}")
