"""The `emu` command. Nothing is imported before it can answer Ctrl-C: the verbs are in verbs.py."""

from __future__ import annotations

import sys


def main() -> None:
    """The console script."""
    try:
        from emu.cli import streams

        streams.guard()
        try:
            from emu.cli.verbs import app

            try:
                app(prog_name="emu")
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            sys.exit(1)
        except BaseException as error:
            refused = streams.refusal_in(error)
            if refused is None:
                raise
            print(f"emu: {refused}", file=sys.stderr)
            sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
