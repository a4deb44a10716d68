"""Which region's members an asker is sent to: the policies, and their nesting. Pure; health is only
read here.

Wherever a policy names a region, it may name another policy, which stands for what that one gives.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from protocols.control import Member

PolicyName = Literal["latency", "geolocation", "weighted", "failover"]
POLICIES: Final[tuple[str, ...]] = get_args(PolicyName)
DEFAULT_PLACE: Final = "default"
MAX_DEPTH: Final = 8
MAX_NAMED: Final = 1000
"""Regions and policies that one answer may have to look at."""
Members = tuple[Member, ...]
Usable = Callable[[Member], bool]


def anybody(member: Member) -> bool:
    """As if all were healthy."""
    return True


@dataclass(frozen=True, slots=True)
class Policy:
    """One way to choose among regions, or among other policies by their names."""

    policy: PolicyName = "latency"
    """latency: the nearest. geolocation: what is said for the asker's place. weighted: by chance.
    failover: the first that is well."""
    near: dict[str, list[str]] = field(default_factory=dict)
    """latency, geolocation: for an asker's place, where to send it, the best first; `default` for
    all others: `near: {us-east: [us-east, eu-west], default: [eu-west]}`."""
    weights: dict[str, int] = field(default_factory=dict)
    """weighted: by region, equal if nothing is said. 0: only when no other is well:
    `weights: {us: 3, eu: 1}`."""
    order: list[str] = field(default_factory=list)
    """failover: regions, the first with a healthy member is given: `order: [us, eu]`."""

    def __post_init__(self) -> None:
        if self.policy not in POLICIES:
            choices = ", ".join(POLICIES)
            raise ValueError(f"`policy: {self.policy}` is not known; choose from {choices}")
        if any(weight < 0 for weight in self.weights.values()):
            raise ValueError("`weights` must not be below 0")
        if self.policy == "geolocation" and not self.near:
            raise ValueError("`policy: geolocation` sends nobody anywhere; say `near`")

    @property
    def targets(self) -> Iterator[str]:
        """The regions and policies that it names."""
        for each in self.near.values():
            yield from each
        yield from self.weights
        yield from self.order


def places_of(asker: str) -> Iterator[str]:
    """The most specific first: `eu-west-2`, `eu-west`, `eu`, then everybody else."""
    while asker:
        yield asker
        asker = asker.rpartition("-")[0]
    yield DEFAULT_PLACE


class Steering:
    """A policy, and those that it may name."""

    def __init__(self, root: Policy, policies: Mapping[str, Policy] | None = None) -> None:
        """Raises ValueError where policies name each other in a circle, or too many of them."""
        self.root = root
        self.policies = policies or {}
        self._check(root, (), 0)

    def _check(self, policy: Policy, above: tuple[str, ...], named: int) -> int:
        """How many are named, with so many before."""
        for name in policy.targets:
            named += 1
            if named > MAX_NAMED:
                raise ValueError(f"`policies`, each as often as it is named, name over {MAX_NAMED}")
            if name not in self.policies:
                continue
            if name in above:
                raise ValueError(f"`policies`: {' → '.join((*above, name))} is a circle")
            if len(above) >= MAX_DEPTH:
                raise ValueError(f"`policies` are nested deeper than {MAX_DEPTH}")
            named = self._check(self.policies[name], (*above, name), named)
        return named

    @property
    def by_place(self) -> bool:
        """Whether the place of the asker decides."""
        return any(each.policy in BY_PLACE for each in (self.root, *self.policies.values()))

    @property
    def by_chance(self) -> bool:
        return any(each.policy == "weighted" for each in (self.root, *self.policies.values()))

    def choose(
        self,
        members: Sequence[Member],
        asker: str,
        rng: random.Random,
        healthy: Usable = anybody,
        distance: Callable[[str], float] = lambda region: 0.0,
    ) -> Members:
        """The members to answer with: those of one region that are healthy; where none is in what
        the policy allows, as if all were. `()`: the policy has no answer for that asker.

        `distance`: of a region, from who answers; only its order counts.
        """
        for usable in (healthy, anybody):
            turn = _Turn(members, usable, asker, rng, distance, self.policies)
            found = turn.give(self.root)
            if not found and self.root.policy != "geolocation":
                found = turn.all_usable()
            if found:
                return found
        return ()


BY_PLACE: Final = ("latency", "geolocation")


class _Turn:
    """One choice: each policy gives the members of a region, or nothing."""

    def __init__(
        self,
        members: Sequence[Member],
        usable: Usable,
        asker: str,
        rng: random.Random,
        distance: Callable[[str], float],
        policies: Mapping[str, Policy],
    ) -> None:
        self._members = members
        self._usable = usable
        self._asker = asker
        self._rng = rng
        self._distance = distance
        self._policies = policies

    def give(self, policy: Policy) -> Members:
        if policy.policy == "weighted":
            return self._by_chance(policy)
        for name in self._preference(policy):
            if found := self._of(name):
                return found
        return ()

    def all_usable(self) -> Members:
        return tuple(each for each in self._members if self._usable(each))

    def _of(self, name: str) -> Members:
        """Of a policy or a region."""
        if name in self._policies:
            return self.give(self._policies[name])
        return tuple(each for each in self._members if each.region == name and self._usable(each))

    def _regions(self) -> list[str]:
        return list(dict.fromkeys(each.region for each in self._members))

    def _preference(self, policy: Policy) -> Iterator[str]:
        if policy.policy == "failover":
            yield from policy.order or self._regions()
            return
        listed = [policy.near[place] for place in places_of(self._asker) if place in policy.near]
        if policy.policy == "geolocation":
            for each in listed:
                yield from each
            return
        if listed:
            yield from listed[0]
        elif not policy.near:
            yield self._asker
            yield from sorted(self._regions(), key=self._distance)

    def _by_chance(self, policy: Policy) -> Members:
        """Weight 0 counts only when all others have nothing to give."""
        weights = policy.weights or dict.fromkeys(self._regions(), 1)
        for wanted in (True, False):
            found = [(weight, members) for name, weight in weights.items()
                     if bool(weight) == wanted and (members := self._of(name))]  # fmt: skip
            if found:
                shares = [weight or 1 for weight, _ in found]
                return self._rng.choices([members for _, members in found], shares)[0]
        return ()
