"""Every fault that can be said can be done."""

from __future__ import annotations

from emu.model import faults
from emu.operations import inject


def test_every_verb_has_an_injector():
    assert set(inject.INJECTORS) == set(faults.VERBS.values())
