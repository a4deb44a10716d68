"""A store's keys, page by page: a page costs no more than itself, however many there are. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, NamedTuple

PAGE_KEYS: Final = 500
MOST_LISTINGS: Final = 4
"""Read at the same time; whoever reads the oldest has to begin anew."""


class Place(NamedTuple):
    """Where the next page begins."""

    listing: int
    at: int


class Listings:
    """One node's. A listing has the keys that there were when it was begun."""

    def __init__(self) -> None:
        self._last = 0
        self._listings: OrderedDict[int, list[str]] = OrderedDict()

    def begin(self, keys: list[str]) -> Place:
        self._last += 1
        self._listings[self._last] = keys
        if len(self._listings) > MOST_LISTINGS:
            self._listings.popitem(last=False)
        return Place(self._last, 0)

    def page(self, place: Place) -> tuple[list[str], Place | None]:
        """The keys there, and the next place. Raises KeyError: that listing is gone."""
        keys = self._listings[place.listing]
        end = place.at + PAGE_KEYS
        if end < len(keys):
            return keys[place.at : end], Place(place.listing, end)
        del self._listings[place.listing]
        return keys[place.at :], None
