"""`emu check`: judge a history that somebody wrote down, emu or another."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from emu.checks import GUARANTEES, MODELS, Anomaly, CheckResult, guarantees_of
from emu.checks import check as judge
from emu.checks.history import Operation
from emu.checks.history_file import HistoryError, read_history
from emu.checks.result import UNKNOWN, about, line
from emu.checks.search import MAX_STEPS
from emu.checks.shapes import shape_of
from emu.cli import output
from emu.cli.attach import JsonOption, one_of_these
from emu.extensions import ExtensionError
from nodes.history import Model

SHOWN_ANOMALIES: Final = 10
WORDS: Final[dict[bool | str, tuple[str, str]]] = {
    True: ("valid", "green"),
    False: ("NOT valid", "bold red"),
    UNKNOWN: ("unknown", "yellow"),
}
MODEL_HELP = f"What the history is of: {', '.join(MODELS)}, or what a kind brings."
GUARANTEE_HELP = f"A weaker promise to hold it to: {', '.join(GUARANTEES)}."


def check(
    history: Annotated[str, typer.Argument(help="JSON lines, one event each.")],
    model: Annotated[
        str, typer.Option("--model", "-m", help=MODEL_HELP, autocompletion=one_of_these(*MODELS))
    ] = "",
    guarantee: Annotated[
        str,
        typer.Option("--guarantee", help=GUARANTEE_HELP, autocompletion=one_of_these(*GUARANTEES)),
    ] = "",
    steps: Annotated[
        int, typer.Option("--steps", min=1, help="Search budget per object.")
    ] = MAX_STEPS,
    as_json: JsonOption = False,
) -> None:
    """Judge a history: valid (exit 0), not valid (4, told with its operations), or unknown (1)."""
    if history.endswith((".yaml", ".yml")):
        output.fail(f"`check` judges histories; a topology: emu config {history}", output.USAGE)
    models = {} if model in MODELS else _models_of_kinds()
    known, promises = (*MODELS, *models), guarantees_of(models)
    if model not in known:
        said = f"no model `{model}`" if model else "say what it is a history of: --model"
        output.fail(f"{said}; there are: {', '.join(known)}", output.USAGE)
    if guarantee and guarantee not in promises:
        there = ", ".join(promises)
        output.fail(f"no guarantee `{guarantee}`; there are: {there}", output.USAGE)
    own = models[model].operations if model in models else ()
    try:
        operations = read_history(history, model=model, shape=shape_of(model, own))
    except HistoryError as error:
        output.fail(str(error))
    except OSError as error:
        output.fail(f"cannot read {history}: {error.strerror}")
    result = judge(operations, model, guarantee=guarantee, max_steps=steps, models=models)
    if as_json:
        output.result(as_record(result, len(operations)))
    else:
        _print(result, model, len(operations))
    if result.valid is False:
        raise typer.Exit(output.VERDICT_FAILED)
    if result.valid == UNKNOWN:
        raise typer.Exit(output.FAILURE)


def _models_of_kinds() -> dict[str, Model]:
    from emu.checks.registry import models_of
    from emu.model.kinds import known_kinds

    try:
        return models_of(known_kinds().values())
    except ExtensionError as error:
        output.fail(str(error))


def as_record(result: CheckResult, operations: int) -> dict[str, Any]:
    """What a check came to, for scripts."""
    return {
        "valid": result.valid,
        "operations": operations,
        "anomalies": [_anomaly(each) for each in result.anomalies],
        "unknown": result.unknown,
    }


def _anomaly(anomaly: Anomaly) -> dict[str, Any]:
    return {
        "model": anomaly.model,
        "key": anomaly.key,
        "text": anomaly.text,
        "operations": [_operation(each) for each in anomaly.operations],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    return {
        "index": operation.begin,
        "process": operation.process,
        "f": operation.f,
        "value": operation.result if operation.is_ok else operation.value,
        "type": operation.outcome,
        "invoked_s": operation.invoked_s,
        "completed_s": operation.completed_s,
    }


def _print(result: CheckResult, model: str, operations: int) -> None:
    for anomaly in result.anomalies[:SHOWN_ANOMALIES]:
        output.out.print(f"{about(anomaly.model, anomaly.key)}: {anomaly.text}", markup=False)
        for each in anomaly.operations:
            output.out.print(f"    {line(each)}", markup=False, style="dim")
    more = len(result.anomalies) - SHOWN_ANOMALIES
    if more > 0:
        output.out.print(f"... and {more} more (--json tells all)")
    for text in result.unknown:
        output.out.print(f"unknown: {text}; try --steps", markup=False)
    word, style = WORDS[result.valid]
    output.out.print(f"{model}, {operations} operations: {word}", style=style, markup=False)
