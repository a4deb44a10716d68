"""One real cluster for each module, shared by the tests that leave it whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.observe.running import Running, start


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    """Step 4 of the story: DNS, a balancer, three web servers, a database, users."""
    yield from start("topologies/04-load-balancer.yaml")
