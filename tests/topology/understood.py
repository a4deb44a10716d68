"""A stand-in for a running cluster, to which commands of the documentation are told."""

from __future__ import annotations

import random
from typing import Any

from emu.model.faults import OF_LINKS, Fault, from_record
from emu.model.topology import Topology
from emu.model.vocabulary import verbs
from emu.running.targets import Candidate, resolve


class Understood:
    """Stands in for a running cluster: what it is asked must make sense for the topology."""

    def __init__(self, topology: Topology) -> None:
        self.candidates = [
            Candidate(
                each.spec.name, each.spec.tier, each.spec.kind, each.spec.region, role, each.group
            )
            for each in topology.placements()
            for role in each.kind.roles or ("",)
        ]
        self.asked = 0
        self.faults: list[Fault] = []
        """What it was told to do to itself."""

    def call(self, method: str, *params: Any) -> Any:
        self.asked += 1
        if method == "inject":
            fault = from_record(params[0], verbs())
            self.faults.append(fault)
            said = getattr(fault, fault.main)
            for words in said if isinstance(said, tuple) else [said]:
                self.resolve(words, links=fault.verb in OF_LINKS)
            return {"changed": {}, "removed": [], "undone": [], "restarts": [], "lasts": True,
                    "number": 1}  # fmt: skip
        self.resolve(params[0])
        return {}

    def begin(self, method: str, *params: Any) -> Any:
        return self.call(method, *params)

    def wait(self, begun: Any, timeout_s: float | None = None) -> Any:
        return begun

    def resolve(self, words: str, links: bool = False) -> None:
        rng = random.Random(1)
        assert words == "all" or resolve(words, self.candidates, rng, links=links)
