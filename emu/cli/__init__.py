"""The `emu` command. Nothing is imported before it can answer Ctrl-C: the verbs are in verbs.py."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script."""
    try:
        from emu.cli.verbs import app

        app(prog_name="emu")
    except KeyboardInterrupt:
        sys.exit(130)
