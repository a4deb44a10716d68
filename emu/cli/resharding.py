"""`emu reshard`: change how many shards a kv tier has, and watch the slots move."""

from __future__ import annotations

import time
from typing import Annotated, Any, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from emu.cli import output
from emu.cli.attach import ClusterOption, JsonOption, attached
from emu.control.client import ControlClient

POLL_S: Final = 0.1
OVER: Final = ("done", "aborted")
PARTITIONER_HELP: Final = "slots, modulo, ring or maglev; none: as it is."


def reshard(
    tier: Annotated[str, typer.Argument(metavar="TIER", help="A tier of `kind: kv`.")],
    to: Annotated[int, typer.Option("--to", help="How many shards it shall have.")] = 0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would move.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Undo what is under way.")] = False,
    partitioner: Annotated[str, typer.Option("--partitioner", help=PARTITIONER_HELP)] = "",
    rate: Annotated[int, typer.Option("--rate", help="Keys a second at most; 0: no limit.")] = 0,
    cluster: ClusterOption = "",
    as_json: JsonOption = False,
) -> None:
    """Let a kv tier have that many shards: slots move while it serves, nodes come and go."""
    options: dict[str, Any] = {"partitioner": partitioner} if partitioner else {}
    with attached(cluster, timeout_s=None) as client:
        if cancel:
            found = client.call("reshard", tier, "cancel")
            output.result(found) if as_json else output.note(
                "cancelled: what is not published is undone" if found else "nothing is under way"
            )
            return
        if to < 1:
            output.fail("say how many shards: --to 4", output.USAGE)
        plan = client.call("reshard", tier, "plan", to, options)
        before = client.call("reshard", tier, "progress")
        if not as_json:
            if before["plan"]:
                output.note("a reshard is under way: this counts from what has moved by now")
            _print_plan(plan)
        if dry_run:
            if as_json:
                output.result(plan)
            return
        if rate:
            options["keys_per_s"] = rate
        began_s = time.monotonic()
        redirects = before["redirects"]
        client.call("reshard", tier, "begin", to, options)
        _watch(client, tier, redirects, quiet=as_json)
        ended = client.call("reshard", tier, "finish")
    summary = _summary(ended, redirects, time.monotonic() - began_s)
    output.result(summary) if as_json else _print_summary(summary)
    if summary["outcome"] != "done":
        raise typer.Exit(output.FAILURE)


def _print_plan(plan: dict[str, Any]) -> None:
    rows = [[source, target, slots] for source, target, slots in plan["moves"]]
    if not rows:
        output.note("nothing has to move")
        return
    output.table(["from", "to", "slots"], rows, {})
    by = plan["by_partitioner"]
    told = ", ".join(f"{name} {by[name]['ratio']:.1%}" for name in by)
    output.note(f"keys that move: {told}; the least possible is {plan['ideal_ratio']:.1%}")


def _watch(client: ControlClient, tier: str, redirects: int, *, quiet: bool) -> None:
    """A bar of slots moved, with keys, bytes, pause and redirects, until the plan is over."""
    text = TextColumn("{task.description}")
    done = TextColumn("{task.completed}/{task.total} slots")
    with Progress(
        text, BarColumn(), done, TimeElapsedColumn(), console=output.err, disable=quiet
    ) as bar:
        task = bar.add_task("moving", total=None)
        while True:
            seen = client.call("reshard", tier, "progress")
            facts = _summary(seen, redirects, 0.0)
            bar.update(
                task,
                total=facts["slots_wanted"],
                completed=facts["slots_moved"],
                description=_shown(facts),
            )
            if not seen["plan"]:
                return
            time.sleep(POLL_S)


def _summary(seen: dict[str, Any], redirects: int, took_s: float) -> dict[str, Any]:
    """The figures of a plan's moves. A move that was aborted counts once, however often tried."""
    moves = seen["moves"]
    done = [each for each in moves if each["phase"] == "done"]
    wanted = [each for each in moves if each["phase"] != "aborted"]
    pauses = [each["pause_s"] for each in done if "pause_s" in each]
    return {
        "outcome": seen["outcome"],
        "map_version": seen["map_version"],
        "moves": len(done),
        "aborted": sum(each["phase"] == "aborted" for each in moves),
        "slots_wanted": sum(each["slots"] for each in wanted),
        "slots_moved": sum(each["slots"] for each in done),
        "keys": sum(each.get("keys", 0) for each in done),
        "bytes": sum(each.get("bytes", 0) for each in done),
        "longest_pause_s": max(pauses, default=0.0),
        "redirects": max(0, seen["redirects"] - redirects),
        "took_s": round(took_s, 3),
        "shares": seen["shares"],
    }


def _shown(facts: dict[str, Any]) -> str:
    pause = f"{facts['longest_pause_s'] * 1000:.1f} ms"
    return (
        f"{facts['keys']} keys, {facts['bytes']} bytes, longest pause {pause}, "
        f"{facts['redirects']} redirects"
    )


def _print_summary(summary: dict[str, Any]) -> None:
    rows = [[shard, slots] for shard, slots in summary["shares"].items()]
    output.table(["shard", "slots"], rows, {})
    moved = f"{summary['slots_moved']} slots in {summary['took_s']:.2f} s"
    output.note(f"{summary['outcome']}: {moved}, {_shown(summary)}")
