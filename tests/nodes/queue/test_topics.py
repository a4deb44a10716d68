"""Names in a file that the wire would refuse later are refused in the file."""

from __future__ import annotations

import pytest

from nodes.queue.topics import TopicOptions, with_dead_letters
from nodes.worker.node import WorkerConfig


@pytest.mark.parametrize("name", ["", "a\nb", "\x00", "x" * 201, "\ud800"])
def test_a_group_that_no_client_could_name_is_refused_where_it_is_said(name: str) -> None:
    with pytest.raises(ValueError, match="`groups`: a group's name is text"):
        TopicOptions(groups=("workers", name))
    with pytest.raises(ValueError, match="`group` is text"):
        WorkerConfig(takes="queue", group=name)


def test_a_group_that_is_named_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="twice"):
        TopicOptions(groups=("a", "a"))


@pytest.mark.parametrize("name", ["", "a b", ".a", "x" * 101, "a/b", "\n"])
def test_a_topic_that_nobody_could_declare_is_refused_where_it_is_said(name: str) -> None:
    with pytest.raises(ValueError, match="a topic's name is letters"):
        with_dead_letters({name: TopicOptions()})
    with pytest.raises(ValueError, match="a topic's name is letters"):
        WorkerConfig(takes="queue", job="mine:work", topics=(name,))
