"""`emu plan`: how many machines so many users need, from what a request costs each tier."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from emu.cli import output
from emu.cli.attach import JsonOption
from emu.cli.files import FileArgument, SetOption, default_file, read_topology
from emu.observe.shown import duration, number

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.planning.checking import Check
    from emu.planning.plan import Answer, Model
    from emu.planning.prices import Prices
    from nodes.kind import Scaling

NO_CEILING: Final = "no tier has a ceiling: declare its `cpu: {cores, service_time}`"
FACTORS: Final = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9}
COUNT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmb]?)", re.IGNORECASE)
USERS_HELP: Final = "How many people use it: 10M, 250k."
CHECK_HELP: Final = "Simulate it at 0.5, 0.8 and 1.1 of its ceiling; exit 4 where it differs."
OUT_HELP: Final = "Draw throughput and response against users, as one HTML page."
PRICES_HELP: Final = "Your provider's prices, instead of round figures."


def plan(
    file: FileArgument = "",
    users: Annotated[str, typer.Option("--users", "-u", help=USERS_HELP)] = "1M",
    per_day: Annotated[float, typer.Option("--requests-per-day", help="Of each user.")] = 50.0,
    peak: Annotated[float, typer.Option("--peak", help="The busiest hour over the mean.")] = 2.0,
    check: Annotated[bool, typer.Option("--check", help=CHECK_HELP)] = False,
    prices: Annotated[str, typer.Option("--prices", metavar="FILE", help=PRICES_HELP)] = "",
    settings: SetOption = None,
    out: Annotated[str, typer.Option("--out", "-o", help=OUT_HELP)] = "",
    as_json: JsonOption = False,
) -> None:
    """Say how many machines of each tier so many users need, where it ends, and what it costs.

    What a request costs is measured in short simulations, not read off the file.
    """
    from emu.planning import plan as planning
    from emu.planning.measuring import grown, scalings

    path = file or default_file()
    written = read_topology(path, settings=settings or ())
    topology = grown(written)
    scaled = {each.tier: (tier.name, each) for tier, each in scalings(written)}
    count = _count(users)
    known = _prices(prices)
    if not (0 < per_day < math.inf and 1 <= peak < math.inf):
        output.fail("--requests-per-day is above 0, and --peak at least 1", output.USAGE)
    rate_per_s = planning.requests_per_s(count, per_day, peak)
    with _Bar() as bar:
        found = _measure(topology, bar)
        checks = _check(topology, found, bar) if check else []
    cautions = [f"{tier}: {scaler} has at most {each.most_nodes} of it run, so it has those"
                for tier, (scaler, each) in scaled.items()]  # fmt: skip
    answer = planning.answer(
        found, count, rate_per_s, rate_per_s / peak, _step(written), known, cautions
    )
    if out:
        _draw(out, topology, found, checks, rate_per_s / count)
    if as_json:
        record = asdict(answer)
        if check:
            record["checks"] = [{**asdict(each), "held": each.held} for each in checks]
        output.result(record)
    else:
        _tell(topology.path, answer, checks, scaled)
    if not all(each.held for each in checks):
        raise typer.Exit(output.VERDICT_FAILED)


def _count(text: str) -> float:
    match = COUNT.fullmatch(text.strip().replace("_", "").replace(",", ""))
    if match is None or float(match[1]) <= 0:
        output.fail(f"--users: `{text[:40]}` is no number of people; write 250k or 10M",
                    output.USAGE)  # fmt: skip
    return float(match[1]) * FACTORS[match[2].lower()]


def _prices(path: str) -> Prices:
    from emu.planning import prices

    try:
        return prices.read(path or prices.SHIPPED)
    except (OSError, ValueError) as error:
        output.fail(f"--prices: {error}", output.USAGE)


class _Bar:
    """A line for each run, and how far it is where somebody watches."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f}%"),
            TimeElapsedColumn(), console=output.err, transient=True,
            disable=not output.err.is_terminal,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=1.0, visible=False)

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def begin(self, text: str) -> Callable[[float], object]:
        """A run, as it is told; what it tells how far it is."""
        output.note(f"{text} ...")
        self._progress.reset(self._task, total=1.0, description="  at most", visible=True)
        return lambda share: self._progress.update(self._task, completed=share)


def _measure(topology: Topology, bar: _Bar) -> Model:
    from emu.planning.measuring import NoUsers
    from emu.planning.probing import find

    def starts(rate_per_s: float) -> Callable[[float], object]:
        return bar.begin(f"measuring {topology.name} at {rate_per_s:,.0f} requests/s")

    try:
        return find(topology, starts)
    except (NoUsers, ValueError) as error:
        output.fail(f"{topology.name}: {error}")


def _check(topology: Topology, found: Model, bar: _Bar) -> list[Check]:
    from emu.planning.checking import Unsampled, check

    def starts(share: float, rate_per_s: float, stands_for: float) -> Callable[[float], object]:
        sent = f", of which 1 in {stands_for:,.3g} is sent" if stands_for > 1 else ""
        return bar.begin(f"simulating {share:g} of its ceiling, {rate_per_s:,.0f} requests/s{sent}")

    if found.bottleneck is None:
        output.fail(f"--check: {NO_CEILING}")
    try:
        return list(check(topology, found, starts))
    except Unsampled as error:
        output.fail(f"--check: {error}")


def _draw(path: str, topology: Topology, found: Model, checks: list[Check], each: float) -> None:
    """`each`: what one person asks in a second, at the peak."""
    from emu.planning.page import render

    if found.bottleneck is None:
        output.fail(f"--out: {NO_CEILING}")
    try:
        Path(path).write_text(render(topology.name, found, checks, each), "utf-8")
    except OSError as error:
        output.fail(f"cannot write {path}: {error.strerror}")
    output.note(f"the curves are in {path}")


def _step(topology: Topology) -> str:
    """The furthest step of the story whose kinds of tiers this site all has."""
    from emu.topology.steps import steps

    own = {tier.group or tier.word for tier in topology.tiers} | {
        tier.word for tier in topology.tiers
    }
    return max((each.number for each in steps() if each.kinds <= own), default="")


def _tell(
    path: str, answer: Answer, checks: list[Check], scaled: Mapping[str, tuple[str, Scaling]]
) -> None:
    def option(tier: str) -> str:
        if tier not in scaled:
            return f"{tier}.nodes"
        scaler, scaling = scaled[tier]
        return f"{scaler}.{scaling.option}"

    rows = [
        [each.tier, each.has, each.nodes, each.cores,
         duration(each.demand_s) if each.demand_s else "", _percent(each.utilization),
         _percent(each.after_losing_one), f"{each.cost_per_month:,.0f}"]
        for each in answer.tiers
    ]  # fmt: skip
    columns = ["tier", "has", "needs", "cores", "per request", "busy", "one lost",
               f"{answer.currency.lower()}/month"]  # fmt: skip
    output.table(columns, rows, {})
    output.note(f"\n{number(answer.users)} users ask {answer.requests_per_s:,.0f} requests/s "
                "at the peak")  # fmt: skip
    if answer.bottleneck:
        output.note(f"as the file stands it bears {answer.ceiling_per_s:,.0f}/s: "
                    f"{answer.bottleneck} is the bottleneck")  # fmt: skip
    storage = answer.storage_cost_per_month
    output.note(f"about {answer.cost_per_month:,.0f} {answer.currency} a month "
                f"({answer.prices_of}): {answer.cost_per_month - storage:,.0f} for machines, "
                f"{storage:,.0f} for the {answer.storage_gb_per_month:,.0f} GB that a month writes "
                "(the next month adds as much)")  # fmt: skip
    for text in answer.cautions:
        output.note(text, style="yellow")
    for each in checks:
        word, style = ("held", None) if each.held else ("NOT HELD", "red")
        output.note(f"at {each.share:g} of the ceiling: {each.what} {each.seen:.4g}, predicted "
                    f"{each.predicted:.4g}: {word}", style=style)  # fmt: skip
    if any(each.sent < 1 for each in checks):
        output.note("of that many requests a sample is sent: the others take their share of cores, "
                    "not of locks, disks and links, and how long they wait is not compared",
                    style="yellow")  # fmt: skip
    words = [f"--set {option(each.tier)}={each.nodes}"
             for each in answer.tiers if each.nodes != each.has and each.cores]  # fmt: skip
    if words:
        output.note(f"so: emu up {path} {' '.join(words)}")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"
