"""`python -m tests.bench NAME [--peer P] [--runs N] [--json]`: run one comparison and print it."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import pkgutil
import sys
from pathlib import Path
from typing import Any

from tests.bench import PeerMissing

ALL = "all"


def names() -> list[str]:
    """The benchmarks that there are: modules of this package with a `run`."""
    found = [each.name for each in pkgutil.iter_modules([str(Path(__file__).parent)])]
    return [each for each in found if not each.startswith("_") and not each.endswith("_rig")]


def table(result: dict[str, Any]) -> str:
    lines = [f"{'work':<34}{'ours':>12}{'peer':>12}{'ratio':>8}  unit"]
    for row in result.get("rows") or [result]:
        peer, ratio = row.get("peer"), row.get("ratio")
        shown_peer = "-" if peer is None else f"{peer:,.1f}"
        shown_ratio = "-" if ratio is None else f"{ratio:.2f}"
        lines.append(
            f"{row['name']:<34}{row['ours']:>12,.1f}{shown_peer:>12}{shown_ratio:>8}  {row['unit']}"
        )
    rows = result.get("rows") or [result]
    lines.extend(dict.fromkeys(str(row["note"]) for row in rows if row.get("note")))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("name", choices=[*names(), ALL], help=f"{ALL}: one after the other")
    parser.add_argument("--peer", help="compare with this one (where there are several)")
    parser.add_argument("--runs", type=int, default=5, help="alternating runs of each (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    chosen = names() if arguments.name == ALL else [arguments.name]
    failed = [name for name in chosen if not measure(name, arguments)]
    if failed and len(chosen) > 1:
        print(f"not measured: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def measure(name: str, arguments: argparse.Namespace) -> bool:
    """Run one and print it; whether that was possible."""
    asked = {"peer": arguments.peer, "runs": arguments.runs}
    try:
        module = importlib.import_module(f"tests.bench.{name}")
        known = inspect.signature(module.run).parameters
        result = module.run(**{key: value for key, value in asked.items() if key in known})
    except (PeerMissing, RuntimeError, OSError) as problem:
        print(f"bench {name}: {problem}", file=sys.stderr)
        return False
    print(json.dumps(result) if arguments.json else table(result), flush=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
