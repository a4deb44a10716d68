"""Where a record goes: its key names the partition, the partition its broker group. Pure."""

from __future__ import annotations

from typing import Any, Final

from protocols.hashing.slots import hash64

MAX_BROKER_GROUPS: Final = 64


def partition_of(key: str | bytes, partitions: int) -> int:
    """The same for a key as long as the topic has so many partitions."""
    return hash64(key) % partitions


def broker_tier(queue: str, number: int) -> str:
    """The tier of the broker group with that number; 1 is the first."""
    return f"{queue}-broker-{number}"


def front_tier(queue: str) -> str:
    return f"{queue}-front"


def place_of(partition: int, groups: int) -> int:
    """The index of the broker group that has the partition, of every topic alike: what a record's
    dead letter needs is beside it."""
    return partition % groups


def home_of(name: str, groups: int) -> int:
    """The index of the broker group that coordinates that consumer group."""
    return hash64(name) % groups


def key_hash(key: Any) -> int | None:
    """What tells the keys of a work queue apart; None for a record without one."""
    return None if key is None else hash64(key)
