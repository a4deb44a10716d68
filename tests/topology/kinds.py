"""Small kinds for the loader's tests: each option of theirs is there for a rule of the schema."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import trio

from nodes.base import Context
from nodes.kind import HTTP, Kind


class Idle:
    """A node that serves nothing."""

    def __init__(self, ctx: Context, config: Any) -> None:
        self.config = config

    async def run(self, *, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()


@dataclass(frozen=True)
class FrontConfig:
    balances: str
    """The tier behind."""
    algorithm: Literal["roundrobin", "least_conn"] = "roundrobin"
    check_interval_s: float = 2.0
    rise: int = 2

    def __post_init__(self) -> None:
        if self.rise < 1:
            raise ValueError("`rise` must be above 0")


@dataclass(frozen=True)
class Limits:
    most_bytes: int = 1000
    rate_per_s: float | None = None


@dataclass(frozen=True)
class SiteConfig:
    uses: tuple[str, ...] = ()
    title: str = "site"
    app: str = ""
    buffer_bytes: int = 65536
    line_bytes_per_s: float = 0.0
    share_ratio: float = 0.5
    level: int = -1
    weights: dict[str, float] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    names: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class StoreConfig:
    detection_s: float = 1.0
    witness: str | None = None


@dataclass(frozen=True)
class UsersConfig:
    visits: str
    rate_per_s: float = 0.0


@dataclass(frozen=True)
class ShardedConfig:
    shards: int = 2


def checked_app(found: Any) -> None:
    if not callable(found):
        raise ValueError("it is no function")


def expand_sharded(name: str, options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    shards = options.get("shards", 2)
    if shards < 1:
        raise ValueError("`shards` must be at least 1")
    made: dict[str, dict[str, Any]] = {
        f"{name}-shard-{number}": {"kind": "store", "nodes": 2} for number in range(1, shards + 1)
    }
    return {**made, f"{name}-coordinator": {"kind": "store", "nodes": 3}}


KINDS: dict[str, Kind] = {
    "front": Kind(FrontConfig, Idle, (HTTP,), edges=("balances",)),
    "site": Kind(SiteConfig, Idle, (HTTP,), edges=("uses",), code={"app": checked_app}),
    "store": Kind(StoreConfig, Idle, peers=True, roles=("primary", "replica")),
    "users": Kind(UsersConfig, Idle, (), edges=("visits",), outside="users"),
    "sharded": Kind(ShardedConfig, Idle, expand=expand_sharded),
}
