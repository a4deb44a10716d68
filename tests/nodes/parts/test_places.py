"""Where something was raised: the innermost frame that somebody here wrote."""

from __future__ import annotations

import json

from nodes.parts.places import place
from protocols.replication.messages import from_wire


def raised(act) -> BaseException:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def test_code_of_ours_is_named_by_its_module_line_and_function():
    where = place(raised(lambda: from_wire([])))
    file, _, rest = where.partition(":")
    assert file == "protocols/replication/messages.py"
    line, _, function = rest.partition(" in ")
    assert int(line) > 1 and function


def test_a_library_is_passed_over_for_whoever_called_it():
    assert place(raised(lambda: json.loads("{"))).startswith("test_places.py:")


def test_a_group_names_the_place_of_each_once():
    one, other = raised(lambda: from_wire([])), raised(lambda: json.loads("{"))
    where = place(ExceptionGroup("both", [one, one, other]))
    assert where.count("messages.py") == 1 and where.count("test_places.py") == 1


def test_what_was_never_raised_is_nowhere():
    assert place(ValueError("made by hand")) == ""
