"""What a node calls itself, and what is its own, towards those who outlive it: stores and queues
remember who asked."""

from __future__ import annotations

from nodes.base import Context


def life_name(ctx: Context) -> str:
    """The name of this life of the node, and of no other, in no other run."""
    return f"{ctx.name}-{int(ctx.clock.wall_s() * 1000):x}"


def of_this_run(ctx: Context, name: str) -> str:
    """The same name for all nodes, and for none of an earlier run on the same disks."""
    return f"{name}-{ctx.run}" if ctx.run else name
