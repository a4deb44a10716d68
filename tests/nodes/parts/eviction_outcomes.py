"""A seeded trace, and what libcachesim 0.3.5 answered to each of its requests.

    pip install libcachesim==0.3.5 && python -m tests.nodes.parts.eviction_outcomes

writes eviction_outcomes.json anew. The package is nobody's dependency: its answers are kept.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_suffix(".json")
NAMES = {"lru": "LRU", "fifo": "FIFO", "sieve": "Sieve", "s3fifo": "S3FIFO"}


class Trace(NamedTuple):
    """Zipf 1.0 over so many keys; all sizes of one range."""

    seed: int
    requests: int
    keys: int
    least_bytes: int
    most_bytes: int
    limit_bytes: int

    def made(self) -> list[tuple[int, int]]:
        """(key, size) of each request."""
        rng = random.Random(self.seed)
        sizes = [
            self.least_bytes + int(rng.random() * (self.most_bytes - self.least_bytes + 1))
            for _ in range(self.keys)
        ]
        weights = [1 / (rank + 1) for rank in range(self.keys)]
        keys = rng.choices(range(self.keys), weights, k=self.requests)
        return [(key, sizes[key]) for key in keys]


TRACES = {
    "one size": Trace(1, 6000, 1000, 1, 1, 100),
    "many sizes": Trace(2, 6000, 1000, 10, 200, 10_500),
    "small": Trace(3, 6000, 300, 1, 4, 60),
}


def read() -> Any:
    """Trace → policy → "1" for each hit, "0" for each miss, as hexadecimal."""
    return json.loads(FILE.read_text())


def as_hex(hits: list[bool]) -> str:
    return f"{int(''.join('01'[hit] for hit in hits), 2):x}"


def their_hits(policy: str, trace: Trace) -> list[bool]:
    import libcachesim  # type: ignore[import-not-found,unused-ignore]

    cache = getattr(libcachesim, NAMES[policy])(trace.limit_bytes, hashpower=14)
    hits = []
    for time, (key, size_bytes) in enumerate(trace.made()):
        request = libcachesim.Request()
        request.obj_id, request.obj_size, request.clock_time = key + 1, size_bytes, time
        hits.append(bool(cache.get(request)))
    return hits


if __name__ == "__main__":
    outcomes = {
        name: {policy: as_hex(their_hits(policy, trace)) for policy in NAMES}
        for name, trace in TRACES.items()
    }
    FILE.write_text(json.dumps(outcomes, indent=1) + "\n")
