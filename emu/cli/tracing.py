"""`emu trace`: one seed of a topology as a message diagram, on the terminal or as a picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich.text import Text

from emu.cli import output
from emu.cli.attach import one_of_these
from emu.cli.files import FileArgument, SetOption, default_file, duration_s, read_topology
from emu.cli.simulate import FAULTS_HELP, SOURCES
from emu.cli.up import one_of

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.observe.diagram import Diagram, Question
    from emu.sim.run import Outcome

MAX_EVENTS: Final = 1_000_000
LATENCY: Final = "latency"
"""How the names of expectations begin that a slow request breaks."""
MOST_LINES: Final = 60
MOST_DRAWN: Final = 400
PICTURES: Final = (".svg", ".html")
STYLES: Final = {
    "head": "bold", "request": "", "response": "green", "failed": "bold red", "lost": "red",
    "faint": "dim", "fault": "yellow", "mark": "magenta", "gap": "dim", "notice": "cyan",
}  # fmt: skip

RequestOption = Annotated[
    int | None, typer.Option("--request", "-r", help="Follow this request of the users (from 1).")
]
NodeOption = Annotated[str, typer.Option("--node", help="Only what this node sends and gets.")]
FromOption = Annotated[str, typer.Option("--from", help="Only messages sent from then on.")]
ToOption = Annotated[str, typer.Option("--to", help="Only messages sent until then.")]
MostOption = Annotated[int, typer.Option("--most", min=0, help="How many messages (0: what fits).")]
AllOption = Annotated[bool, typer.Option("--all", help="Health checks, directory, admin, too.")]
OutOption = Annotated[
    str, typer.Option("--out", "-o", help="A picture (.svg) or a page (.html), for a browser.")
]


def trace(
    file: FileArgument = "",
    seed: Annotated[int | None, typer.Option("--seed", help="Not the file's seed.")] = None,
    for_text: Annotated[str, typer.Option("--for", help="Virtual time, as with `sim`.")] = "60s",
    faults: Annotated[
        str, typer.Option("--faults", help=FAULTS_HELP, autocompletion=one_of_these(*SOURCES))
    ] = "swarm",
    request: RequestOption = None,
    node: NodeOption = "",
    from_text: FromOption = "",
    to_text: ToOption = "",
    most: MostOption = 0,
    everything: AllOption = False,
    out: OutOption = "",
    settings: SetOption = None,
) -> None:
    """Draw the messages of one seed: one request of a user, one node, or a time.

    If nothing is asked for: what led to the run's first anomaly, or, where it was only too slow,
    the slowest request. Seed, --for and --faults as
    `emu sim` printed them give the very run it saw.
    """
    from emu.observe.diagram import Question
    from emu.seeds.run import SeedRun, simulate_seed

    one_of("--faults", faults, SOURCES)
    if out and Path(out).suffix not in PICTURES:
        output.fail(f"--out {out}: the name must end in {' or '.join(PICTURES)}", output.USAGE)
    path = file or default_file()
    topology = read_topology(path, seed=seed, settings=settings or ())
    _check_node(topology, node)
    for_s = duration_s("--for", for_text) or 0.0
    question = Question(
        request=request,
        node=node,
        from_s=duration_s("--from", from_text) or 0.0,
        to_s=duration_s("--to", to_text) or float("inf"),
        everything=everything,
        most=most or (MOST_DRAWN if out else MOST_LINES),
    )
    run = SeedRun(path, topology.seed, for_s, faults)  # type: ignore[arg-type]
    outcome = simulate_seed(replace(run, keep_trace=MAX_EVENTS, settings=tuple(settings or ())))
    if request is None and not (node or from_text or to_text):
        question = _at_the_anomaly(question, outcome)
    diagram = _draw(topology, outcome, question)
    if out:
        _write(diagram, Path(out))
    else:
        _print(diagram)
    _tell(diagram, outcome, question)


def _check_node(topology: Topology, node: str) -> None:
    names = [each.spec.name for each in topology.placements()]
    if node and node not in names:
        output.fail(f"--node: no node `{node}`; there are: {', '.join(names[:20])}", output.USAGE)


def _at_the_anomaly(question: Question, outcome: Outcome[dict[str, Any]]) -> Question:
    """Nothing was asked for: where the run went wrong is what somebody wants to see."""
    summary = outcome.value or {"anomalies": (), "expectations": ()}
    spans = [each["span_s"] for each in summary["anomalies"] if each["span_s"] is not None]
    if not spans:
        missed = [each["text"] for each in summary["expectations"] if each["held"] is False]
        return replace(question, slowest=any(text.startswith(LATENCY) for text in missed))
    return replace(question, from_s=spans[0][0], to_s=spans[0][1], newest=True)


def _draw(topology: Topology, outcome: Outcome[dict[str, Any]], question: Question) -> Diagram:
    from emu.observe.diagram import NothingToShow, draw

    title = f"{topology.name}, seed {topology.seed}"
    if question.node:
        title += f", {question.node}"
    try:
        return draw(
            outcome.trace.looked_at(),
            question,
            tiers={each.spec.name: each.spec.tier for each in topology.placements()},
            labels={each: label for kind in topology.kinds for each, label in kind.labels.items()},
            faults=outcome.value["faults"] if outcome.value is not None else (),
            title=title,
        )
    except NothingToShow as nothing:
        output.fail(str(nothing))


def _write(diagram: Diagram, path: Path) -> None:
    from emu.observe.diagram_svg import as_html, as_svg

    text = as_svg(diagram) if path.suffix == ".svg" else as_html(diagram)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        output.fail(f"cannot write {path}: {error.strerror}")
    output.note(f"{diagram.title}: {len(diagram.arrows)} messages in {path}")


def _print(diagram: Diagram) -> None:
    from emu.observe.diagram_text import as_text

    for line in as_text(diagram, width_chars=output.out.width):
        output.out.print(Text(line.text, style=STYLES.get(line.tone, "")))


def _tell(diagram: Diagram, outcome: Outcome[dict[str, Any]], question: Question) -> None:
    """What else there is to see, and what came of the run."""
    if diagram.left_out:
        where = "--to" if question.newest else "--from"
        edge_s = diagram.begin_s if question.newest else diagram.end_s
        output.note(f"{diagram.left_out} more messages: --most, --node, or {where} {edge_s:.3f}s")
    if outcome.error is not None:
        output.note(f"the run ended with {type(outcome.error).__name__}: {outcome.error}", "red")
    elif outcome.value is not None:
        texts = [each["text"] for each in outcome.value["anomalies"]] or outcome.value["why"]
        if texts:
            output.note(f"in this run: {texts[0]}", style="red")
