"""The house rules hold in this source, and each of them notices a planted breach."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests import tidy

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
LONG_FUNCTION = "def long() -> None:\n" + "    x = 1\n" * 70
ALLOWED_FUNCTION = "def allowed() -> None:\n" + "    x = 1\n" * 69


def test_the_source_keeps_the_house_rules():
    assert tidy.problems(ROOT) == []


def planted(room: Path, path: str, text: str) -> list[str]:
    """The problems of a tree that holds nothing but this file, used by an entry point."""
    file = room / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text if text.startswith('"""') else f'"""A planted file."""\n{text}\n')
    user = room / "emu" / "__main__.py"
    user.parent.mkdir(exist_ok=True)
    name = path.removesuffix(".py").replace("/", ".")
    user.write_text(f'"""Uses it."""\nimport {name}\n')
    return tidy.problems(room)


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        (
            "nodes/x.py",
            "import emu.running.supervisor",
            "imports emu.running.supervisor: reach it through the Context",
        ),
        ("nodes/x.py", "import time", "imports time"),
        ("nodes/x.py", "from datetime import datetime", "imports datetime"),
        ("nodes/x.py", "import socket", "imports socket"),
        ("nodes/x.py", "import os", "imports os"),
        ("nodes/x.py", "import importlib", "imports importlib"),
        ("nodes/x.py", "def f():\n    import threading", "imports threading"),
        ("nodes/x.py", "from random import choice", "only the type Random"),
        ("nodes/x.py", "import random\nx = random.random()", "random.random: ask ctx.rng"),
        ("nodes/x.py", "import random\nx = random.Random(7)", "ask ctx.rng"),
        ("emu/x.py", "import typer\ntyper.echo('x')", "echo hides that a stream refuses"),
        ("nodes/x.py", "x = open('/etc/passwd')", "open() reaches out of the Context"),
        ("nodes/x.py", "import trio\nasync def f():\n    await trio.sleep(1)", "trio.sleep"),
        ("nodes/x.py", "import trio\nwith trio.move_on_after(1): pass", "trio.move_on_after"),
        ("nodes/x.py", "import trio\nnow = trio.current_time()", "trio.current_time"),
        ("nodes/x.py", "import trio\ns = trio.CancelScope(shield=True)", "shield=True"),
        ("nodes/x.py", "try: f()\nexcept BaseException: pass", "catches BaseException"),
        ("nodes/x.py", "try: f()\nexcept: pass", "catches BaseException"),
        ("nodes/x.py", "try: f()\nexcept (OSError, BaseException): pass", "catches BaseException"),
        ("protocols/x.py", "import trio", "imports trio"),
        ("protocols/x.py", "import random", "imports random"),
        ("protocols/x.py", "import socket", "imports socket"),
        ("emu/x.py", "print('hello')", "print outside emu/cli"),
        ("emu/x.py", "from trio import _core", "private Trio"),
        ("emu/x.py", "import trio\nr = trio._core.x", "private Trio"),
        ("emu/x.py", "import trio._core._run", "private Trio"),
        ("emu/x.py", "for x in {1, 2}: pass", "iterates a set"),
        ("nodes/x.py", "def f():\n    return [y for y in set('abc')]", "iterates a set"),
        ("nodes/x.py", "x = tuple({1} | set([2]))", "iterates a set"),
        ("nodes/x.py", "x = ','.join({'a', 'b'})", "iterates a set"),
        ("nodes/x.py", "seen = []", "seen may change"),
        ("nodes/x.py", "seen: dict[str, int] = {}", "seen may change"),
        ("nodes/x.py", "from collections import deque\nx = deque()", "x may change"),
        ("protocols/x.py", "n = 0\ndef f():\n    global n\n    n = 1", "global n: state belongs"),
        ("nodes/x.py", "# as nodes/gone.py has it", "there is no nodes/gone.py"),
        ("nodes/x.py", LONG_FUNCTION, "long has 71 lines; the cap is 70"),
        ("nodes/x.py", "x = 1\n" * 500, "502 lines; the cap is 500"),
        ("nodes/x.py", '"""' + "a\n" * 6 + '"""', "opens with 6 lines; say it in 5"),
        ("protocols/x.py", '"""' + "a\n" * 6 + '"""', "opens with 6 lines"),
    ],
)
def test_a_planted_breach_is_found(tmp_path: Path, path: str, text: str, message: str):
    found = planted(tmp_path, path, text)
    assert len(found) == 1 and message in found[0], found
    assert found[0].startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("nodes/x.py", "import random\ndef f(rng: random.Random) -> None: ..."),
        ("nodes/x.py", "from random import Random"),
        ("nodes/x.py", "import trio\nscope = trio.CancelScope()"),
        ("nodes/x.py", "x = sorted({1, 2})"),
        ("nodes/x.py", "from typing import Final\nX: Final = {1: 2}\ndef f():\n    x = []"),
        ("nodes/x.py", ALLOWED_FUNCTION),
        ("emu/cli/x.py", "print('hello')"),
        ("emu/x.py", "import time\nx = open('/dev/null')"),
        ("emu/machine/private_trio.py", "import trio._core"),
        ("protocols/x.py", '"""Words.\n\n' + "a word\n" * 9 + '"""'),
    ],
)
def test_what_is_allowed_is_not_complained_of(tmp_path: Path, path: str, text: str):
    assert planted(tmp_path, path, text) == []


def test_a_module_without_an_opening_or_a_user_is_found(tmp_path: Path):
    (tmp_path / "nodes").mkdir()
    (tmp_path / "nodes" / "x.py").write_text("x = 1\n")
    first, second = tidy.problems(tmp_path)
    assert "nodes/x.py:1: no docstring" in first
    assert "nodes/x.py:1: nothing imports it" in second


def test_a_room_that_becomes_a_corridor_is_found(tmp_path: Path):
    (tmp_path / "nodes").mkdir()
    (tmp_path / "emu").mkdir()
    names = [f"x{number}" for number in range(tidy.MAX_TOP_FILES + 1)]
    main = "".join(f"import nodes.{name}\n" for name in names)
    (tmp_path / "emu" / "__main__.py").write_text(f'"""Main."""\n{main}')
    for name in names:
        (tmp_path / "nodes" / f"{name}.py").write_text('"""One of many."""\n')
    assert tidy.problems(tmp_path) == ["nodes/: 15 files at its top; the cap is 14: make rooms"]


def test_modules_that_import_each_other_for_types_only_are_a_circle(tmp_path: Path):
    files = {
        "emu/__main__.py": "from emu import a",
        "emu/a.py": "from emu.inner import b",
        "emu/inner/__init__.py": "",
        "emu/inner/b.py": "from emu.inner.c import C",
        "emu/inner/c.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import emu.a",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f'"""A file."""\n{text}\n')
    assert tidy.problems(tmp_path) == [
        "emu/a.py:1: an import circle: emu.a, emu.inner.b, emu.inner.c"
    ]


def test_a_tier_that_imports_another_tier_is_found_even_through_a_part(tmp_path: Path):
    nodes = tmp_path / "nodes"
    (nodes / "parts").mkdir(parents=True)
    (tmp_path / "emu").mkdir()
    (tmp_path / "emu" / "__main__.py").write_text('"""Main."""\nfrom nodes import kinds\n')
    (nodes / "kinds.py").write_text('"""Kinds."""\nfrom nodes.a import A\nfrom nodes.b import B\n')
    (nodes / "a.py").write_text('"""A."""\nfrom nodes.parts import shared\n')
    (nodes / "b.py").write_text('"""B."""\n')
    (nodes / "parts" / "shared.py").write_text('"""Shared."""\nfrom nodes.b import B\n')
    assert tidy.problems(tmp_path) == [
        "nodes/parts/shared.py:1: nodes.a reaches nodes.b: tiers meet on the wire only"
    ]


def test_a_family_s_kind_stands_for_its_tiers(tmp_path: Path):
    files = {
        "emu/__main__.py": "from nodes import kinds",
        "nodes/kinds.py": "from nodes.a import kind\nfrom nodes.b import B",
        "nodes/a/kind.py": "from nodes.a.first import A\nfrom nodes.a.second import Second",
        "nodes/a/first.py": "from nodes.a.second import Second",
        "nodes/a/second.py": "",
        "nodes/b.py": "from nodes.a.second import Second",
    }
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f'"""A file."""\n{text}\n')
    assert tidy.problems(tmp_path) == [
        "nodes/b.py:1: nodes.b reaches nodes.a.second: tiers meet on the wire only"
    ]


def planted_beside_kinds(room: Path, path: str, text: str) -> list[str]:
    """`planted`, where there is a table of a few kinds."""
    used = ("kind", "lake", "kv.kind", "kv.shard", "wire.service")
    files = {f"nodes/{name.replace('.', '/')}.py": "" for name in used}
    files["nodes/kinds.py"] = (
        "from nodes import lake\nfrom nodes.kv import kind as kv\n"
        "KINDS: Final = {'clients': 1, 'kv_shard': kv, 'lake': lake}"
    )
    files["emu/chaos.py"] = "import nodes.kinds\nimport nodes.x"
    files["nodes/x.py"] = "\n".join(f"import nodes.{name}" for name in used)
    for name, content in files.items():
        (room / name).parent.mkdir(parents=True, exist_ok=True)
        (room / name).write_text(f'"""A file."""\n{content}\n')
    found = planted(room, path, text)
    return [line for line in found if not line.startswith("emu/chaos.py")]


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("emu/y.py", "x = tier.word == 'kv_shard'", "names the kind `kv_shard`: ask the Kind"),
        ("emu/y.py", "SHOWN = ('lake',)", "names the kind `lake`"),
        ("emu/y.py", "SPEAKS = {'lake': 'http'}", "names the kind `lake`"),
        ("emu/y.py", "x = tier.word == 'clients'", "names the kind `clients`"),
        ("emu/y.py", "x = folder / 'kv'", "names the kind `kv`"),
        ("emu/y.py", "from nodes.kv import shard", "imports nodes.kv: ask the Kind"),
        ("emu/y.py", "from nodes import lake", "imports nodes.lake: ask the Kind"),
        ("emu/y.py", "def f():\n    import nodes.kv.shard", "imports nodes.kv: ask the Kind"),
        ("emu/checks/y.py", "MODEL = 'lake'", "names the kind `lake`"),
    ],
)
def test_a_kind_or_family_that_emu_names_is_found(
    tmp_path: Path, path: str, text: str, message: str
):
    found = planted_beside_kinds(tmp_path, path, text)
    assert len(found) == 1 and message in found[0], found
    assert found[0].startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("emu/y.py", "x = tier['clients']\ny = {'clients': x}"),
        ("emu/y.py", "x = 'a lake of kv'"),
        ("emu/y.py", "from nodes.kind import Kind\nfrom nodes.wire import service"),
        ("emu/checks/y.py", "MODEL = 'kv'"),
        ("emu/operations/y.py", "from nodes.kv import shard\nx = 'lake'"),
        ("nodes/parts/y.py", "x = 'lake'"),
    ],
)
def test_what_only_looks_like_a_kind_is_not_complained_of(tmp_path: Path, path: str, text: str):
    assert planted_beside_kinds(tmp_path, path, text) == []


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source, for the tools that look at the whole of it."""
    root = tmp_path_factory.mktemp("copy")
    for name in (*tidy.ROOMS, "pyproject.toml"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, root / name)
    return root


def run(root: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / program, *arguments], cwd=root, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_import_linter_keeps_the_rooms_apart_and_notices_a_planted_import(copy: Path):
    untouched = run(copy, "lint-imports", "--no-logo", "--no-cache")
    assert untouched.returncode == 0 and "0 broken" in untouched.stdout, untouched.stdout
    (copy / "nodes" / "planted.py").write_text(
        "import emu.running.supervisor\nimport socket\nimport time\n"
    )
    (copy / "protocols" / "planted.py").write_text("import trio\nimport random\n")
    (copy / "emu" / "planted.py").write_text("")
    (copy / "emu" / "machine" / "planted.py").write_text("import emu.sim.run\n")
    (copy / "emu" / "running" / "planted.py").write_text("import emu.machine.life\n")
    (copy / "nodes" / "wire" / "planted.py").write_text("import nodes.kv.client\n")
    (copy / "nodes" / "site" / "planted.py").write_text("import nodes.sql.client\n")
    (copy / "emu" / "observe" / "planted.py").write_text("import emu.machine.life\n")
    broken = run(copy, "lint-imports", "--no-logo", "--no-cache")
    assert broken.returncode == 1 and "0 kept, 7 broken" in broken.stdout, broken.stdout
    for line in (
        "- emu.planted\n",
        "emu.machine.planted -> emu.sim.run",
        "emu.observe.planted -> emu.machine.life",
        "emu.running.planted -> emu.machine.life",
        "nodes.wire.planted -> nodes.kv.client",
        "nodes.site.planted -> nodes.sql.client",
        "nodes.planted -> emu.running.supervisor",
        "nodes.planted -> socket",
        "nodes.planted -> time",
        "protocols.planted -> trio",
        "protocols.planted -> random",
    ):
        assert line in broken.stdout


def test_every_room_of_nodes_has_a_floor():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    (floors,) = [
        each["layers"] for each in contracts["contracts"] if each.get("containers") == ["nodes"]
    ]
    named = {room for floor in floors for room in re.split(r"[ |:]+", floor)}
    rooms = {path.parent.name for path in (ROOT / "nodes").glob("*/__init__.py")}
    assert rooms <= named, "pyproject.toml: give them a floor"


@pytest.mark.slow
def test_ruff_notices_blocking_calls_in_an_async_function(copy: Path):
    planted = copy / "nodes" / "blocking.py"
    planted.write_text(
        '"""Planted."""\n\nimport time\n\n\nasync def f() -> None:\n    time.sleep(1)\n'
        "    open('x')\n"
    )
    found = run(copy, "ruff", "check", "--no-cache", "--output-format=concise", str(planted))
    assert found.returncode == 1
    assert "ASYNC251" in found.stdout and "ASYNC230" in found.stdout, found.stdout
