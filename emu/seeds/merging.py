"""Parts of one campaign, run in several places, put together: the same object, the same digest."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from protocols.numerals import whole

ADDED: Final = ("injected", "judged", "reached")
"""What is counted by a word."""
SUMS: Final = ("virtual_s", "wall_s", "messages")
NEEDED: Final = ("digests", "failed", "counted", "undecided", "not_run", "never", "versions",
                 "campaign", *ADDED, *SUMS)  # fmt: skip

Record = Mapping[str, Any]


def shard(text: str) -> tuple[int, int]:
    """`2/4` → (1, 4): the second of four parts. Raises ValueError that says what to write."""
    part, slash, parts = text.partition("/")
    number, count = whole(part), whole(parts)
    if not slash or number is None or count is None or not 0 < number <= count:
        raise ValueError(f"`{text[:40]}` is no part; write 2/4 for the second of four")
    return number - 1, count


def merged(records: Sequence[Record]) -> dict[str, Any]:
    """As `emu sim --json` of all their seeds. Raises ValueError where they do not belong together:
    of another campaign, of other versions, or with a seed twice."""
    for each in records:
        missing = [key for key in NEEDED if key not in each]
        if missing:
            raise ValueError(f"it has no `{missing[0]}`: it is not of `emu sim --json`")
    first = records[0]
    for each in records[1:]:
        for key in ("campaign", "versions"):
            if each[key] != first[key]:
                raise ValueError(f"they differ in {key}: {first[key]} and {each[key]}")
    digests: dict[str, str] = {}
    for each in records:
        twice = sorted(digests.keys() & each["digests"].keys(), key=int)
        if twice:
            raise ValueError(f"seed {twice[0]} is in two of them")
        digests |= each["digests"]
    digests = {seed: digests[seed] for seed in sorted(digests, key=int)}
    return {
        "seeds": len(digests),
        "failed": sorted((one for each in records for one in each["failed"]), key=_seed),
        "counted": _counted(line for each in records for line in each["counted"]),
        "undecided": sorted(seed for each in records for seed in each["undecided"]),
        "not_run": _in_all([each["not_run"] for each in records]),
        **{key: _added(each[key] for each in records) for key in ADDED},
        "never": _in_all([each["never"] for each in records]),
        **{key: round(sum(each[key] for each in records), 3) for key in SUMS},
        "digest": digest_of(digests.values()),
        "digests": digests,
        "versions": first["versions"],
        "campaign": first["campaign"],
    }


def digest_of(digests: Iterable[str]) -> str:
    """SHA-256 over the traces of all seeds, in their order."""
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _seed(failure: Record) -> int:
    return int(failure["seed"])


def _in_all(lists: Sequence[Sequence[str]]) -> list[str]:
    """What happened in no part happened in none."""
    return [each for each in lists[0] if all(each in other for other in lists[1:])]


def _added(maps: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total = Counter[str]()
    for each in maps:
        total.update(each)
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _counted(lines: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line for each of the clients, as campaign.counted makes it."""
    found: dict[str, dict[str, Any]] = {}
    for line in lines:
        known = found.get(line["clients"])
        if known is None:
            found[line["clients"]] = dict(line)
            continue
        known["operations"] += line["operations"]
        known["anomalies"] += line["anomalies"]
        if line["lost"] is not None:
            known["lost"] = (known["lost"] or 0) + line["lost"]
    return list(found.values())
