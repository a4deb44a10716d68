"""Terminals, devices and pipes that refuse what a command says: a clear error, no traceback."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.cli.running import EMU, PATIENCE_S, TINY, environment

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    return tmp_path


def shell(folder: Path, line: str, **more: str) -> subprocess.CompletedProcess[str]:
    """`emu` is this one; what it says on stderr goes where the line does not send it."""
    words = " ".join(EMU)
    return subprocess.run(
        ["bash", "-c", f'emu() {{ {words} "$@"; }}; {line}'],
        cwd=folder,
        env=environment(folder / "state", **more),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("emu config tiny.yaml > /dev/full", 1, "emu: cannot write to stdout: No space left"),
        ("emu config tiny.yaml --json > /dev/full", 1, "emu: cannot write to stdout: No space"),
        ("emu config --schema > /dev/full", 1, "emu: cannot write to stdout: No space left"),
        ("emu --help > /dev/full", 1, "emu: cannot write to stdout: No space left"),
        ("emu config tiny.yaml >&-", 1, "emu: cannot write to stdout: it is closed"),
        ("emu config tiny.yaml --json >&-", 1, "emu: cannot write to stdout: it is closed"),
        ("emu config nothing.yaml 2> /dev/full", 2, ""),
        ("emu config nothing.yaml 2>&-", 2, ""),
        ("emu config tiny.yaml >&- 2>&- <&-", 1, ""),
        ("emu config --schema | true; exit ${PIPESTATUS[0]}", 1, ""),
        ("emu down > /dev/full", 1, "emu: no cluster is running"),
    ],
)
def test_a_stream_that_refuses_ends_the_command_with_its_cause(
    folder: Path, line: str, code: int, says: str
) -> None:
    result = shell(folder, line)
    assert "Traceback" not in result.stderr
    assert (result.returncode, says in result.stderr) == (code, True), result.stderr
    assert says or not result.stderr


@pytest.mark.parametrize("encoding", ["ascii", "ascii:strict", "latin-1", "utf-8:strict"])
@pytest.mark.parametrize("line", ["emu config bad.yaml", "emu config $'b\\xff\\xc3.yaml'"])
def test_what_an_encoding_lacks_is_escaped(folder: Path, encoding: str, line: str) -> None:
    (folder / "bad.yaml").write_text("name: 'Ω \\udc80'\n", "utf-8")
    result = shell(folder, f"{line}; exit $?", PYTHONIOENCODING=encoding)
    assert "Traceback" not in result.stderr
    assert result.returncode in (2, 3), result.stderr


def test_a_result_on_an_ascii_terminal_is_whole(folder: Path) -> None:
    plain = shell(folder, "emu --help")
    ascii_only = shell(folder, "emu --help", PYTHONIOENCODING="ascii")
    assert ascii_only.returncode == plain.returncode == 0
    assert len(ascii_only.stdout) >= len(plain.stdout) // 2
    assert ascii_only.stdout.isascii()
