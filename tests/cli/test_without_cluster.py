"""What the command says when nothing runs, and about files: every mistake in clear words."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from emu import state
from emu.cli import operating
from emu.cli.files import default_file
from emu.topology import shipped
from emu.topology.lint import unaccepted
from emu.topology.loading import load
from nodes.sql.switchover import PROMOTE
from tests.cli.conftest import Verb
from tests.cli.running import TINY, emu_process

ASKING = (("ps",), ("kill", "web"), ("down",), ("events",), ("summary",), ("call", "web", "ping"))


@pytest.mark.parametrize("words", ASKING, ids=lambda words: words[0])
def test_a_verb_without_a_cluster_says_how_to_start_one(emu: Verb, words: tuple[str, ...]) -> None:
    result = emu(*words)
    assert result.exit_code == 1
    assert result.stderr == "emu: no cluster is running; start one with `emu up`\n"


def test_a_cluster_that_does_not_run_is_named(emu: Verb) -> None:
    result = emu("ps", "-c", "shop")
    assert result.exit_code == 1
    assert "no cluster called `shop` is running" in result.stderr


LONG = "x" * 5000


@pytest.mark.parametrize(
    "words",
    [
        *(("ps", "-c", name) for name in ("-1", LONG, "../..", "\udcff", "9" * 5000)),
        ("call", "kv", "incr", "n", "-1", "--cluster", "-1"),
        *((verb, file) for verb in ("config", "up", "sim") for file in (LONG, "\udcff", " ")),
        ("new", "--from", LONG),
        ("new", "--from", "\udcff"),
        ("check", LONG, "--model", "kv"),
        ("explain", "--write", "/dev/null"),
        ("explain", "--write", "/dev/null/below"),
    ],
    ids=lambda words: f"{words[0]} {words[-1][:5]!a}",
)
def test_whatever_a_name_is_it_ends_in_words(emu: Verb, words: tuple[str, ...]) -> None:
    result = emu(*words)
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stderr.startswith(("emu: ", "Usage: ")), result.stderr


def test_a_missing_file_is_a_usage_error(emu: Verb, tmp_path: Path) -> None:
    result = emu("up", str(tmp_path / "none.yaml"))
    assert result.exit_code == 2
    assert "none.yaml: No such file or directory" in result.stderr


def test_a_folder_is_no_file(emu: Verb, tmp_path: Path) -> None:
    result = emu("up", str(tmp_path))
    assert result.exit_code == 2
    assert "Is a directory" in result.stderr


def test_an_invalid_file_is_told_whole_and_exits_3(emu: Verb, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("tiers:\n  web: {kind: wep}\n  db: {kind: database, nodes: -1}\n")
    result = emu("up", str(file))
    assert result.exit_code == 3
    assert "bad.yaml:2:15: " in result.stderr and "`web`?" in result.stderr
    assert "bad.yaml:3:" in result.stderr
    assert result.stderr.endswith(f"emu: 2 mistakes in {file}\n")


def test_config_gives_mistakes_as_json_with_their_places(emu: Verb, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("tiers:\n  web: {kind: wep}\n")
    result = emu("config", str(file), "--json")
    (problem,) = json.loads(result.stdout)["problems"]
    assert result.exit_code == 3
    assert (problem["line"], problem["column"]) == (2, 15)


def test_config_lists_the_tiers_and_warns(emu: Verb, tmp_path: Path) -> None:
    file = tmp_path / "one.yaml"
    file.write_text("tiers:\n  web: {kind: web, public: true}\n")
    result = emu("config", str(file))
    assert result.exit_code == 0
    assert result.stdout.splitlines()[1].split() == ["web", "web", "1", "local", "yes"]
    assert "[single-point]" in result.stderr


def test_warnings_that_the_file_accepts_are_not_shown(emu: Verb, tmp_path: Path) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text(TINY)
    assert emu("config", str(file)).stderr == ""


@pytest.mark.parametrize("path", shipped.names())
def test_every_shipped_topology_loads_and_explains_its_warnings(path: str) -> None:
    assert unaccepted(load(path)) == []


def test_without_a_file_the_largest_step_is_meant() -> None:
    assert load(default_file()).name == "full"


def test_the_schema_is_json(emu: Verb) -> None:
    assert json.loads(emu("config", "--schema").stdout)["$schema"].startswith("https://json-schema")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (("--for", "10"), "write 10s or 10ms"),
        (("--log-level", "loud"), "debug, info, warning, error"),
        (("--log-format", "xml"), "text, json"),
        (("--faults", "some"), "timeline, none"),
        (("--name", "../x"), "lower-case letters"),
        (("--otlp", "grpc://host:4317"), "only plain HTTP"),
        (("--webhook", "pager"), "only plain HTTP"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_a_wrong_option_of_up_is_a_usage_error(
    emu: Verb, words: tuple[str, ...], complaint: str
) -> None:
    result = emu("up", *words)
    assert result.exit_code == 2
    assert complaint in result.stderr


def test_a_verb_loads_neither_trio_nor_the_tiers() -> None:
    """Half of a second that every `emu kill` would take: import such things where they are used."""
    heavy = ("trio", "pydantic", "nodes.kinds", "apsw", "ruamel.yaml")
    source = f"import sys, emu.cli.verbs; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("words", "known"),
    [
        ("disk db --fail r", "reads"),
        ("partition a b --mode ", "hold reject"),
        ("sim 04 --faults p", "planned"),
        ("up --log-level w", "warning"),
        ("new --from 04", "04-load-balancer"),
        ("explain ta", "target"),
        ("explain fault sl", "slow"),
        ("explain verbs su", "summary"),
        ("explain web.rest", "web.restart"),
        ("heal ", "all"),
        ("up 05 --set d", "dns. db."),
        ("compare 05 --set db.ac", "db.ack= db.access="),
        ("up nothing-here --set d", ""),
    ],
)
def test_the_shell_completes_the_values_of_options(words: str, known: str, tmp_path: Path) -> None:
    place = str(len(words.split()) + words.endswith(" "))
    shell = {"_EMU_COMPLETE": "complete_bash", "COMP_CWORD": place, "COMP_WORDS": f"emu {words}"}
    assert emu_process(tmp_path / "state", **shell).stdout.split() == known.split()


def test_an_unknown_verb_or_option_exits_2(emu: Verb) -> None:
    assert emu("fly").exit_code == 2
    assert emu("ps", "--wings").exit_code == 2


def test_a_state_folder_that_cannot_be_made_is_explained(emu: Verb, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("not a folder")
    for words in (("up", "--for", "1s"), ("up", "-d")):
        result = emu(*words)
        assert result.exit_code == 1
        assert "set EMU_STATE_DIR" in result.stderr


def test_down_with_volumes_wipes_what_a_stopped_cluster_left(
    emu: Verb, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMU_STATE_DIR", str(tmp_path / "state"))
    folder = state.claim("shop")
    (folder.data / "db-1").mkdir()
    folder.release()
    assert [each.split()[:2] for each in emu("clusters").stdout.splitlines()[1:]] == [
        ["shop", "stopped"]
    ]
    assert "with disks kept: shop" in emu("down", "--volumes").stderr
    assert emu("down", "--volumes", "-c", "shop").exit_code == 0
    assert not folder.path.exists()
    assert emu("down", "--volumes", "-c", "shop").exit_code == 1


class Told:
    """Stands in for a running cluster that is asked for an operation."""

    def __init__(self, ended: dict[str, Any]) -> None:
        self.ended = ended
        self.asked: list[tuple[str, Any]] = []

    def call(self, method: str, *params: Any) -> Any:
        self.asked.append((method, params[0] if params else None))
        return self.ended

    def begin(self, method: str, *params: Any) -> Any:
        return self.call(method, *params)

    def wait(self, begun: Any, timeout_s: float | None = None) -> Any:
        return begun


def test_a_promotion_says_who_took_over_from_whom_and_how_long_writes_waited(
    emu: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"tier": "db", "old": "db-1", "new": "db-2", "epoch": 4, "writes_waited_s": 0.0314}
    cluster = Told({"result": told, "text": PROMOTE.shown(told), "succeeded": True})
    monkeypatch.setattr(operating, "attached", lambda *_, **__: nullcontext(cluster))
    assert emu("promote", "db", "db-2").stdout == "db-1 → db-2, epoch 4; writes waited 31.4 ms\n"
    assert json.loads(emu("promote", "db", "--json").stdout) == told
    asked = [record["target"] for method, record in cluster.asked if method == "begin"]
    assert asked == ["db db-2", "db"]


def test_an_operation_without_what_it_needs_or_with_what_it_has_not_is_a_usage_error(
    emu: Verb,
) -> None:
    assert "say --to" in emu("reshard", "kv").stderr
    assert emu("reshard", "kv").exit_code == 2
    assert emu("reshard", "kv", "--to", "many").exit_code == 2
    assert emu("promote", "db", "--dry-run").exit_code == 2
    for words, unsaid in (
        (("queue", "tail", "queue"), "--topic"),
        (("queue", "publish", "queue", "--topic", "orders"), "--value"),
        (("backup", "db"), "--file"),
        (("restore", "db"), "--file"),
    ):
        result = emu(*words)
        assert (result.exit_code, result.stderr.split(":")[1]) == (2, f" say {unsaid}"), words


def test_the_verbs_of_kinds_are_listed_beside_emus_own(emu: Verb) -> None:
    shown = emu("--help").stdout
    assert all(f" {verb} " in shown for verb in ("kill", "promote", "reshard", "sim"))
    assert "How many shards it shall" in emu("reshard", "--help").stdout


@pytest.mark.parametrize(
    "words",
    [
        ("sim", "01", "--seeds", "0"),
        ("sim", "01", "--jobs", "-1"),
        ("sim", "01", "--break", ""),
        ("up", "01", "--until", ""),
        ("compare", "01", "--set", "web.nodes=1", "--jobs", "-1"),
        ("trace", "01", "--most", "-1"),
        ("check", "x.jsonl", "--model", "kv", "--steps", "0"),
        ("plan", "04", "--peak", "inf"),
        ("plan", "04", "--requests-per-day", "nan"),
        ("explain", "kind", "nope"),
    ],
    ids=lambda words: f"{words[0]} {words[-2]} {words[-1]}",
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    emu: Verb, words: tuple[str, ...]
) -> None:
    result = emu(*words)
    assert result.exit_code == 2, result.stderr
    assert isinstance(result.exception, SystemExit), result.exception


@pytest.mark.parametrize("verb", ["merge", "report"])
@pytest.mark.parametrize("text", ["", "null", "[[]]", "{", "[" * 100_000, "\udcff", '{"a": 1}'])
def test_a_file_that_is_no_record_is_refused_by_its_name(
    emu: Verb, verb: str, text: str, tmp_path: Path
) -> None:
    kept = tmp_path / "kept.json"
    kept.write_bytes(text.encode("utf-8", "surrogateescape"))
    result = emu(verb, str(kept))
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (2, True)
    assert "kept.json" in result.stderr, result.stderr
    assert "is no record" in result.stderr or "`digests`" in result.stderr
