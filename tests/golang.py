"""Peers that are written in Go, and that no registry has as a program: built from the module proxy,
once, and kept in ~/.cache/emu/."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Final

import pytest

from tests.peers import need

KEPT: Final = Path.home() / ".cache" / "emu"
QUICKLY: Final = ("-gcflags=all=-N -l", "-ldflags=-s -w")
"""Not optimised: it is asked little."""


class Module:
    """A module of ours around a program of theirs."""

    def __init__(self, name: str, main: str, *, install: str) -> None:
        self._go = need("go", install=install)
        self.folder = KEPT / f"build-{name}"
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "main.go").write_text(main)
        for left in ("go.mod", "go.sum"):
            (self.folder / left).unlink(missing_ok=True)
        self.run("mod", "init", f"example.test/{name}")

    def run(self, *words: str) -> str:
        """What `go` said; it skips the test where that does not go."""
        env = {**os.environ, "GOFLAGS": "-p=2 -mod=mod -buildvcs=false", "GOGC": "400"}
        done = subprocess.run([self._go, *words], cwd=self.folder, env=env, capture_output=True,
                              text=True, check=False)  # fmt: skip
        if done.returncode:
            pytest.skip(f"go {words[0]} does not build it: {done.stderr[-500:]}")
        return done.stdout

    def build(self, path: Path) -> None:
        self.run("build", *QUICKLY, "-o", str(path), ".")
