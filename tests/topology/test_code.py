"""Python code that a topology names is imported from beside the file or installed packages."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from emu.cli.verbs import app
from emu.model.problems import TopologyError
from emu.topology import code
from emu.topology.loading import load
from nodes.kind import Leader
from tests.topology.kinds import KINDS

NODE = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Settings:
    size: int = 3
    asks: str = ""

class Echo:
    Config = Settings
    port = 9000
    edges = ("asks",)
    async def run(self, *, task_status): ...

class BadEdges(Echo):
    edges = ("uses",)

class NoNode: ...
class BadConfig:
    Config = dict
    async def run(self, *, task_status): ...

async def app(request, services): ...
"""


@pytest.fixture
def write(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Writes a file below the topology's folder; what is imported in the test is forgotten."""
    before = dict(sys.modules)

    def put(name: str, text: str = NODE) -> Path:
        path = tmp_path / "site" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    yield put
    for name in [name for name in sys.modules if name not in before]:
        del sys.modules[name]


def problems(folder: Path, line: str) -> list[str]:
    file = folder / "site" / "t.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"tiers: {{echo: {line}}}\n")
    try:
        load(file, kinds=KINDS)
    except TopologyError as error:
        return [problem.message for problem in error.problems]
    return []


def test_a_node_kind_beside_the_file_is_loaded_and_its_file_named(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    module = write("mine_a.py")
    topology_file = write("t.yaml", "tiers: {echo: {kind: 'mine_a:Echo', size: 5, public: true}}\n")
    topology = load(topology_file, kinds=KINDS)
    tier = topology.tier("echo")
    assert (tier.kind.port, tier.config.size) == (9000, 5)
    assert topology.code == (str(module),)


def test_a_class_of_its_own_may_say_who_leads(write: Callable[..., Path]) -> None:
    leads = 'from nodes.kind import Leader\nEcho.roles, Echo.leader = ("first",), Leader("first")\n'
    write("mine_n.py", NODE + leads)
    file = write("t.yaml", "tiers: {echo: {kind: 'mine_n:Echo', public: true}}\n")
    assert load(file, kinds=KINDS).tier("echo").kind.leader == Leader("first", "promoted")


def test_the_command_says_which_code_a_topology_runs(write: Callable[..., Path]) -> None:
    module = write("mine_m.py")
    file = write("t.yaml", "tiers: {echo: {kind: 'mine_m:Echo', public: true, nodes: 2}}\n")
    answer = CliRunner().invoke(app, ["config", str(file)])
    assert answer.exit_code == 0
    assert f"this topology runs Python code: {module}" in answer.stderr


def test_a_package_beside_the_file_is_loaded(tmp_path: Path, write: Callable[..., Path]) -> None:
    write("pack_b/__init__.py", "")
    write("pack_b/inner.py")
    assert problems(tmp_path, "{kind: 'pack_b.inner:Echo'}") == []


def test_an_app_of_the_users_own_is_loaded(tmp_path: Path, write: Callable[..., Path]) -> None:
    write("mine_c.py")
    assert problems(tmp_path, "{kind: site, app: 'mine_c:app'}") == []


def test_the_folder_is_importable_only_while_its_code_is_imported(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    write("mine_d.py")
    assert problems(tmp_path, "{kind: 'mine_d:Echo'}") == []
    assert not [each for each in sys.path if each.startswith(str(tmp_path))]


def test_code_in_the_current_folder_or_on_pythonpath_is_refused(
    tmp_path: Path, write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine_e.py").write_text("raise SystemExit('it ran')\n" + NODE)
    monkeypatch.chdir(elsewhere)
    monkeypatch.syspath_prepend(elsewhere)
    (found,) = problems(tmp_path, "{kind: 'mine_e:Echo'}")
    assert "no Python module `mine_e` beside the topology" in found
    assert "code is loaded from nowhere else" in found
    assert "mine_e" not in sys.modules


@pytest.mark.parametrize("name", ["os:system", "subprocess:run", "json:loads", "emu.cli:main"])
def test_python_itself_and_emu_are_no_installed_packages(tmp_path: Path, name: str) -> None:
    (found,) = problems(tmp_path, f"{{kind: site, app: '{name}'}}")
    assert found.startswith("`app`: no Python module")


def test_an_installed_package_may_be_named(tmp_path: Path) -> None:
    assert code.load("msgpack:packb", tmp_path)[0] is not None


@pytest.mark.parametrize(
    "reference",
    ["../evil:Echo", "/tmp/evil:Echo", "a/b:Echo", "..evil:Echo", "evil.py", "evil", "a:b:c",
     "a:b.c", "a b:c", ":Echo", "evil:", "a" * 300 + ":b", "évil\n:b"],
)  # fmt: skip
def test_whatever_is_no_reference_is_refused(tmp_path: Path, reference: str) -> None:
    with pytest.raises(ValueError, match=r"names no Python object; write `package\.module:Name`"):
        code.load(reference, tmp_path)


def test_an_app_that_is_no_reference_is_refused(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, "{kind: site, app: mysite}")
    assert found == "`app`: `mysite` names no Python object; write `package.module:Name`"


@pytest.mark.parametrize("name", ["link_f.py", "link_g/__init__.py", "link_h/inner.py"])
def test_a_link_that_leads_out_of_the_folder_is_refused(
    tmp_path: Path, write: Callable[..., Path], name: str
) -> None:
    outside = tmp_path / "evil.py"
    outside.write_text("raise SystemExit('it ran')\n" + NODE)
    module = write(name.replace("inner", "__init__"), "")
    link = module.parent / Path(name).name
    link.unlink(missing_ok=True)
    link.symlink_to(outside)
    dotted = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    (found,) = problems(tmp_path, f"{{kind: '{dotted}:Echo'}}")
    assert "leads out of" in found and "copy the code beside the topology" in found


def test_a_folder_that_is_a_link_out_is_refused(tmp_path: Path, write: Callable[..., Path]) -> None:
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("raise SystemExit('it ran')\n")
    (write("t.yaml", "").parent / "link_i").symlink_to(tmp_path / "evil")
    (found,) = problems(tmp_path, "{kind: 'link_i:Echo'}")
    assert "leads out of" in found


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Missing", "`mine_j` has no `Missing`; look into"),
        ("NoNode", "is no node; give a class with an async `run`, or a Kind"),
        ("BadConfig", "its `Config` must be a frozen dataclass"),
        ("BadEdges", "its `edges` must be names of fields of its Config"),
    ],
)
def test_what_is_no_node_is_refused_with_its_reason(
    tmp_path: Path, write: Callable[..., Path], name: str, message: str
) -> None:
    write("mine_j.py")
    (found,) = problems(tmp_path, f"{{kind: 'mine_j:{name}'}}")
    assert message in found


def test_code_that_fails_while_it_is_imported_says_how(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    write("mine_k.py", "x = 1 / 0\n")
    (found,) = problems(tmp_path, "{kind: 'mine_k:Echo'}")
    assert "importing `mine_k`: ZeroDivisionError: division by zero" in found


def test_a_name_that_is_taken_by_another_module_is_refused(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    write("json.py")
    (found,) = problems(tmp_path, "{kind: 'json:Echo'}")
    assert "the module name `json` is taken by" in found and "rename yours" in found


def test_unknown_options_of_an_own_kind_are_found(
    tmp_path: Path, write: Callable[..., Path]
) -> None:
    write("mine_l.py")
    (found,) = problems(tmp_path, "{kind: 'mine_l:Echo', siez: 5}")
    assert "unknown key `siez`" in found and "did you mean `size`?" in found
