"""`emu why`: one request followed, hop by hop, as a user of a region makes it."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.text import Text

from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, ask

GAP: Final = 2


def why(
    url: Annotated[
        str, typer.Argument(help="A path at the site (`/photos/7`), or http://HOST:PORT/PATH.")
    ],
    from_region: Annotated[
        str, typer.Option("--from", help="The region of whose users one asks; the first if none.")
    ] = "",
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Follow one request: which hop did what, why, and how long it took.

    A user of that region looks the name up, and asks. Each hop's time is its own, with the way to
    it and without those behind it: they add up to the whole. Edges name the rule that made theirs.
    """
    found = _ask(url, from_region, cluster)
    if as_json:
        output.result(found)
        return
    region = f" from {found['region']}" if found.get("region") else ""
    output.line(f"{found['url']}{region}: {found['status']} in {_ms(found['time_s'])}")
    for line in _rows(found["hops"]):
        output.out.print(Text(line))


def _ask(url: str, region: str, cluster: str) -> dict[str, Any]:
    """What somebody who can ask as a user does was answered."""
    from emu.model.kinds import known_kinds

    kinds = known_kinds()
    rows = [
        row
        for row in ask(cluster, "ps", "all")
        if row["kind"] in kinds and kinds[row["kind"]].follow and row["state"] == "up"
    ]
    there = list(dict.fromkeys(row["region"] for row in rows))
    near = [row for row in rows if not region or row["region"] == region]
    if not near:
        who = f"there are users in {', '.join(filter(None, there))}" if any(there) else "none run"
        output.fail(f"nobody who could ask: {who}; `users:` of the file has them")
    row = near[0]
    answer = ask(cluster, "call", row["name"], kinds[row["kind"]].follow, [url], True)[row["name"]]
    if "error" in answer:
        output.fail(": ".join(str(part) for part in answer["error"]))
    found: dict[str, Any] = answer["ok"]
    return found


def _rows(hops: list[dict[str, Any]]) -> list[str]:
    """A line for each, in columns."""
    cells = [[hop["node"], _ms(hop["time_s"]), hop["decision"], hop["why"]] for hop in hops]
    widths = [max(len(row[place]) for row in cells) for place in range(3)] if cells else []
    return [
        f"  {row[0]:<{widths[0] + GAP}}{row[1]:>{widths[1]}}"
        f"{'':{GAP}}{row[2]:<{widths[2] + GAP}}{row[3]}".rstrip()
        for row in cells
    ]


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
