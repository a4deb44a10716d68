"""The topology file that a verb means: read, checked, and its mistakes told. And `config`."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from emu.cli import output
from emu.cli.attach import JsonOption
from emu.machine import units
from emu.model.problems import Problem, TopologyError
from emu.topology import shipped

if TYPE_CHECKING:
    from emu.model.topology import Topology
    from emu.running.conditions import Condition


def complete_file(incomplete: str) -> list[str]:
    """For the shell: YAML files and folders here, and the topologies that ship."""
    found = sorted(Path().glob(f"{incomplete}*") if incomplete else Path().iterdir())
    here = [
        f"{path}/" if path.is_dir() else str(path)
        for path in found
        if path.is_dir() or path.suffix in (".yaml", ".yml")
    ]
    ours = (*shipped.names(), *shipped.experiments())
    return [*here, *(name for name in ours if name.startswith(incomplete))]


FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="[FILE]",
        help="A topology file, or one that ships (`04`); none: the full one.",
        autocompletion=complete_file,
    ),
]


def complete_setting(context: typer.Context, incomplete: str) -> list[str]:
    """For the shell: the tiers of the file; after `db.` what a tier of its kind may be told."""
    from emu.cli.explain import options_of
    from emu.topology import document

    file = (context.args or [default_file()])[0]  # as `--set` has no value yet, nothing is taken
    try:
        data = document.read(shipped.find(file).read_text(encoding="utf-8-sig"), file).data
    except (OSError, UnicodeDecodeError):
        return []
    tiers = data.get("tiers") if isinstance(data, dict) else None
    tier, dot, _ = incomplete.partition(".")
    kinds = {name: each.get("kind", name) for name, each in (tiers or {}).items()
             if isinstance(name, str) and isinstance(each, dict)}  # fmt: skip
    found = [f"{name}." for name in kinds]
    if dot:
        of_its_kind = options_of(str(kinds.get(tier, "")), context.find_root().command)
        found = [f"{tier}.{option}=" for option in of_its_kind]
    return [word for word in found if word.startswith(incomplete)]


SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="TIER.OPTION=VALUE",
        help="Otherwise than the file says.",
        autocompletion=complete_setting,
    ),
]


def default_file() -> str:
    """The full topology."""
    return str(shipped.FULL)


def read_topology(
    file: str, *, name: str = "", seed: int | None = None, settings: Sequence[str] = ()
) -> Topology:
    """The file's topology, perhaps under another name or seed, with some values set otherwise;
    mistakes end the command."""
    from emu.topology.loading import load

    try:
        found = load(file, settings=settings)
    except TopologyError as error:
        _tell(error.problems, file)
    except OSError as error:
        output.fail(f"cannot read {file}: {error.strerror}{_near(file)}", output.USAGE)
    for code in found.code:
        output.note(f"this topology runs Python code: {code}", style="yellow")
    if name:
        found = replace(found, name=_checked(name))
    return found if seed is None else replace(found, seed=seed)


def _near(file: str) -> str:
    """What ships and is called nearly so, and where to find the rest."""
    names = (*shipped.names(), *shipped.experiments())
    words = {part: name for name in names for part in (name, name.partition("-")[2]) if part}
    close = get_close_matches(Path(file).stem, words, n=3, cutoff=0.6)
    found = dict.fromkeys(words[each] for each in close)
    if found:
        return f"; did you mean {' or '.join(found)}?"
    numbers = [name.partition("-")[0] for name in shipped.names() if name[0].isdigit()]
    return f"; with emu come {numbers[0]} to {numbers[-1]}, full and experiments: `emu steps`"


def read_record(path: str, keys: Collection[str], maker: str) -> dict[str, Any]:
    """What `maker` wrote with --json, which has these keys; anything else ends the command."""
    try:
        found = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        output.fail(f"cannot read {path}: {error.strerror}", output.USAGE)
    except (ValueError, RecursionError):  # also text that is not UTF-8
        found = None
    if not isinstance(found, dict) or not set(keys) <= found.keys():
        output.fail(f"{path} is no record; `{maker} --json` writes one", output.USAGE)
    return found


def duration_s(option: str, text: str) -> float | None:
    """What an option like `--for 10s` says; None where it is not given."""
    if not text:
        return None
    try:
        found = units.parse_value("for_s", text)
    except ValueError as error:
        output.fail(f"{option}: {error}", output.USAGE)
    return float(found)


def condition_of(option: str, text: str | None) -> Condition | None:
    """What an option like `--until 'db.lag > 2s'` says; None where it is not given."""
    from emu.running.conditions import parse

    try:
        return None if text is None else parse(text)
    except ValueError as error:
        output.fail(f"{option}: {error}", output.USAGE)


def config(
    file: FileArgument = "",
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema.")] = False,
    settings: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a topology file: every mistake at once, warnings, and what it comes to."""
    from emu.topology.jsonschema import json_schema
    from emu.topology.lint import unaccepted
    from emu.topology.loading import load

    if schema:
        output.result(json_schema())
        return
    if as_json:
        try:
            load(file or default_file(), settings=settings or ())
        except TopologyError as error:
            output.result({"problems": [_as_record(each) for each in error.problems]})
            raise typer.Exit(output.INVALID_TOPOLOGY) from None
        except OSError:
            pass  # told below
    topology = read_topology(file or default_file(), settings=settings or ())
    warnings = [str(each) for each in unaccepted(topology)]
    if as_json:
        nodes = [
            {"name": each.spec.name, "kind": each.spec.kind, "region": each.spec.region}
            for each in topology.placements()
        ]
        found = {"name": topology.name, "nodes": nodes, "warnings": warnings, "problems": []}
        output.result(found)
        return
    rows: list[list[Any]] = [
        [
            tier.name,
            tier.word,
            len(tier.members),
            ", ".join(dict.fromkeys(tier.members)),
            tier.public,
        ]
        for tier in topology.tiers
    ]
    output.table(["tier", "kind", "nodes", "regions", "public"], rows, {})
    tell_warnings(warnings)


def tell_warnings(warnings: list[str]) -> None:
    for warning in warnings:
        output.note(f"warning: {warning}", style="yellow")


def _tell(problems: list[Problem], file: str) -> NoReturn:
    for problem in problems:
        output.note(str(problem), style="red")
    count = len(problems)
    mistakes = "1 mistake" if count == 1 else f"{count} mistakes"
    output.fail(f"{mistakes} in {file}", output.INVALID_TOPOLOGY)


def _as_record(problem: Problem) -> dict[str, Any]:
    return {
        "file": problem.path,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
    }


def _checked(name: str) -> str:
    from emu.topology.tiers import MAX_NAME, NAME

    if len(name) > MAX_NAME or not NAME.fullmatch(name):
        output.fail(
            f"--name: `{name[:60]}` is no name; write lower-case letters, digits and single "
            f"dashes, beginning with a letter, at most {MAX_NAME}",
            output.USAGE,
        )
    return name
