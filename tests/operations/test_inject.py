"""Every fault that can be said can be done."""

from __future__ import annotations

from emu.model import faults
from emu.model.vocabulary import operations, verbs
from emu.running import inject


def test_every_verb_is_a_general_fault_or_an_operation_of_a_kind():
    assert set(inject.INJECTORS) == set(faults.VERBS.values())
    assert set(verbs()) == {*faults.VERBS, *operations()}
    assert {"promote", "reshard"} <= set(operations())
