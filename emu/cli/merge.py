"""`emu merge`: the parts of a campaign that ran in several places, as one."""

from __future__ import annotations

from typing import Annotated

import typer

from emu.cli import campaign, output
from emu.cli.attach import JsonOption
from emu.cli.files import read_record


def merge(
    records: Annotated[
        list[str], typer.Argument(metavar="RECORD...", help="What `emu sim --json` gave.")
    ],
    as_json: JsonOption = False,
) -> None:
    """Put the parts of a campaign together: `emu sim 05 --seeds 1000 --shard 2/4 --json` each.

    The digest is that of the whole campaign run in one place. Exit codes are `emu sim`'s.
    """
    from emu.seeds.merging import merged

    try:
        record = merged([read_record(path, (), "emu sim") for path in records])
    except ValueError as error:
        output.fail(f"cannot merge {', '.join(records)}: {error}", output.USAGE)
    if as_json:
        output.result(record)
    campaign.tell(record)
    if record["failed"] or record["not_run"]:
        raise typer.Exit(output.VERDICT_FAILED)
