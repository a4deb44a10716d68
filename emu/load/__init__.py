"""The load generator: `run(plan)` in this process, which is not the cluster's. On uvloop, or on
asyncio where that is missing."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import signal
from collections.abc import Callable
from typing import Any, Final

from emu.load.generator import Generator
from emu.load.plan import Plan
from emu.load.stats import Stats

HAS_UVLOOP: Final = importlib.util.find_spec("uvloop") is not None


def run(plan: Plan, on_second: Callable[[Stats], object] = lambda stats: None) -> dict[str, Any]:
    """The summary of a run (see Stats.summary), with `interrupted` if Ctrl-C ended it early."""
    gc.freeze()
    with asyncio.Runner(loop_factory=_uvloop if HAS_UVLOOP else None) as runner:
        return runner.run(_run(plan, on_second))


async def _run(plan: Plan, on_second: Callable[[Stats], object]) -> dict[str, Any]:
    generator = Generator(plan, on_second)
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, generator.ended.set)
    summary = await generator.run()
    return {
        "target": [each.shown for each in plan.endpoints],
        "loop": "open" if plan.is_open else "closed",
        "rate_per_s": plan.rate.peak_per_s or None,
        "connections": plan.connections,
        "depth": plan.depth,
        **summary,
        "uvloop": HAS_UVLOOP,
        "interrupted": generator.ended.is_set(),
    }


def _uvloop() -> asyncio.AbstractEventLoop:
    import uvloop

    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop
