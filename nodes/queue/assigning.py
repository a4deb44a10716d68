"""Which member of a consumer group shall read which partition: evenly, and with few moves. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Where = tuple[str, int]
"""Topic and partition."""


def assign(
    partitions: Mapping[str, int],
    wants: Mapping[str, Sequence[str]],
    before: Mapping[str, Sequence[Where]],
) -> dict[str, list[Where]]:
    """Member → its partitions.

    `partitions`: of each topic so many; `wants`: member → the topics that it reads; `before`: what
    each had, which it keeps where that is fair. No two members that read the same topics differ by
    more than one partition.
    """
    given: dict[str, list[Where]] = {member: [] for member in sorted(wants)}
    taken: dict[Where, str] = {}
    for member in given:
        for where in before.get(member, ()):
            topic, number = where
            fits = topic in wants[member] and number < partitions.get(topic, 0)
            if fits and where not in taken:
                given[member].append(where)
                taken[where] = member
    for topic in sorted(partitions):
        able = [member for member in given if topic in wants[member]]
        for number in range(partitions[topic]):
            if able and (topic, number) not in taken:
                poorest = min(able, key=lambda member: (len(given[member]), member))
                given[poorest].append((topic, number))
    _even_out(given, wants)
    return {member: sorted(each) for member, each in given.items()}


def _even_out(given: dict[str, list[Where]], wants: Mapping[str, Sequence[str]]) -> None:
    """Move one at a time from who has most to who has least, while that helps."""
    for _ in range(sum(map(len, given.values()))):
        move = _best_move(given, wants)
        if move is None:
            return
        rich, poor, where = move
        given[rich].remove(where)
        given[poor].append(where)


def _best_move(
    given: dict[str, list[Where]], wants: Mapping[str, Sequence[str]]
) -> tuple[str, str, Where] | None:
    by_load = sorted(given, key=lambda member: (len(given[member]), member))
    for rich in reversed(by_load):
        for poor in by_load:
            if len(given[rich]) - len(given[poor]) < 2:
                break
            for where in reversed(given[rich]):
                if where[0] in wants[poor]:
                    return rich, poor, where
    return None
