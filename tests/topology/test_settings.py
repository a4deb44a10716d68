"""`--set`: a value of the file, said otherwise."""

from __future__ import annotations

import pytest

from emu.model.problems import TopologyError
from emu.topology.loading import loads

SHOP = """\
tiers:
  web: {kind: web, public: true, nodes: 2, uses: db}
  db: {kind: database, nodes: 3, ack: quorum}
users:
  local: {rate: 5/s, visits: web}
"""


def test_an_option_of_a_tier_is_set():
    topology = loads(SHOP, settings=["db.ack=async", "web.nodes=5"])
    assert topology.tier("db").config.ack == "async"
    assert len(topology.tier("web").members) == 5


def test_sections_lists_and_mappings_are_set_too():
    topology = loads(
        SHOP,
        settings=[
            "users.local.rate=7/s",
            "links.defaults.within=2ms",
            "web.cpu={cores: 2, service_time: 3ms}",
        ],
    )
    assert topology.tier("users-local").config.rate_per_s == 7
    assert topology.links.defaults.within_s == 0.002
    assert topology.tier("web").cpu.cores == 2


def test_a_whole_section_is_set():
    text = SHOP + "faults:\n  - {at: 5s, kill: web}\n"
    assert loads(text).faults
    assert loads(text, settings=["faults=[]"]).faults == ()


def test_an_option_that_the_file_does_not_have_is_added():
    assert (
        loads(SHOP, settings=["db.detection_timeout=3s"]).tier("db").config.detection_timeout_s == 3
    )


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("db.ack", "write TIER.OPTION=VALUE"),
        ("ack=async", "write TIER.OPTION=VALUE"),
        (".ack=async", "write TIER.OPTION=VALUE"),
        ("dbx.ack=async", "no tier or section `dbx`; did you mean `db`"),
        ("db.ack=asink", "asink"),
        ("db.ackk=async", "unknown key `ackk`"),
        ("db.ack.x=1", "what stands above `x` is no mapping"),
        ("db.ack=[a", "the value is not YAML"),
    ],
)
def test_what_cannot_be_set_is_said(setting, told):
    with pytest.raises(TopologyError) as caught:
        loads(SHOP, settings=[setting])
    assert told in str(caught.value)
    assert f"--set `{setting}`: " in str(caught.value), "the file is right at that place"
