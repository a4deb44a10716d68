"""The JSON Schema that editors use agrees with the loader about what a topology looks like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from emu.cli.verbs import app
from emu.topology import document
from emu.topology.jsonschema import json_schema
from tests.topology.kinds import KINDS

SHIPPED = sorted((Path(__file__).parents[2] / "topologies").glob("*.yaml"))


def validator(**kinds: Any) -> jsonschema.Draft202012Validator:
    schema = json_schema(**kinds)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture(scope="module")
def shipped() -> jsonschema.Draft202012Validator:
    return validator()


@pytest.fixture(scope="module")
def small() -> jsonschema.Draft202012Validator:
    return validator(kinds=KINDS)


def data(text: str) -> Any:
    return document.read(text, "t.yaml").data


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_topology_is_valid(
    path: Path, shipped: jsonschema.Draft202012Validator
) -> None:
    problems = [error.message for error in shipped.iter_errors(data(path.read_text()))]
    assert problems == []


@pytest.mark.parametrize(
    "text",
    [
        "tiers: {web: {kind: site, uses: db, public: true, nodes: {a: 2}, limits: {most: 3B}}}",
        "tiers: {web: {kind: site, uses: [db], per_region: 2, share: 20%, line: 1Mbit, level: -3}}",
        "tiers: {web: {kind: 'mine:Echo', anything: 3}}",
        "tiers: {f: {kind: front, balances: a, check_interval: 1m30s, cpu: {cores: 2}}}",
        "tiers: {w: {kind: site}}\nlinks: {defaults: {within: 0}, a -> b: 3ms, a <-> c: {loss: 1}}",
        "tiers: {w: {kind: site}}\nfaults: [{at: 1s, kill: w}, {on: failover, after: 1s, slow: w, "
        "latency: 3ms, for: 1s}, {at: 1s, partition: [a, b], one_way: true}, {at: 0, heal: all}]",
        "tiers: {w: {kind: site}}\nexpect: [availability >= 99%]\naccepts: {single-point w: fine}",
        "tiers: {w: {kind: site}}\nusers: {here: {visits: w, rate: 3/s, nodes: 2}}",
        "tiers: {w: {kind: site}}\noutside: {region: here, link: {latency: 5ms}}\nseed: 3",
    ],
)
def test_what_the_loader_takes_is_valid(text: str, small: jsonschema.Draft202012Validator) -> None:
    assert [error.message for error in small.iter_errors(data(text))] == []


@pytest.mark.parametrize(
    "text",
    [
        "3",
        "name: x",
        "tires: {}\ntiers: {web: {kind: site}}",
        "tiers: {Web: {kind: site}}",
        "tiers: {web: {}}",
        "tiers: {web: {kind: sitee}}",
        "tiers: {web: {kind: site, titel: x}}",
        "tiers: {web: {kind: site, public: yes}}",
        "tiers: {web: {kind: site, nodes: -1}}",
        "tiers: {web: {kind: site, buffer: 64}}",
        "tiers: {web: {kind: site, buffer: 64mb}}",
        "tiers: {web: {kind: site, title: 3}}",
        "tiers: {web: {kind: site, share: 3}}",
        "tiers: {web: {kind: site, limits: {mosst: 3}}}",
        "tiers: {web: {kind: front}}",
        "tiers: {web: {kind: front, balances: a, algorithm: x}}",
        "tiers: {web: {kind: site, restart: always}}",
        "tiers: {web: {kind: site}}\nlinks: {a: 3ms}",
        "tiers: {web: {kind: site}}\nlinks: {a -> b: 3}",
        "tiers: {web: {kind: site}}\nlinks: {defaults: {latency: 3ms}}",
        "tiers: {web: {kind: site}}\nfaults: [{kill: web}]",
        "tiers: {web: {kind: site}}\nfaults: [{at: 1s}]",
        "tiers: {web: {kind: site}}\nfaults: [{at: 1s, klil: web}]",
        "tiers: {web: {kind: site}}\nfaults: [{at: 1s, on: x, kill: web}]",
        "tiers: {web: {kind: site}}\nfaults: [{at: 1s, slow: web, latncy: 3ms}]",
        "tiers: {web: {kind: site}}\nexpect: [availabilty >= 99%]",
        "tiers: {web: {kind: site}}\naccepts: {single-pont: x}",
        "tiers: {web: {kind: site}}\nusers: {here: {rate: 3}}",
        "tiers: {web: {kind: site}}\noutside: {lnk: {}}",
        "tiers: {web: {kind: site}}\nseed: -1",
    ],
)
def test_what_the_loader_refuses_by_its_looks_is_invalid(
    text: str, small: jsonschema.Draft202012Validator
) -> None:
    assert not small.is_valid(data(text))


def test_the_command_prints_the_schema_with_descriptions_and_defaults() -> None:
    answer = CliRunner().invoke(app, ["config", "--schema"])
    assert answer.exit_code == 0
    schema = json.loads(answer.stdout)
    branches = schema["properties"]["tiers"]["additionalProperties"]["allOf"]
    (balancer,) = [each["then"]["properties"] for each in branches
                   if each["if"]["properties"]["kind"]["const"] == "balancer"]  # fmt: skip
    assert balancer["check_interval"]["default"] == "2s"
    assert "more wait in the queue" in balancer["max_conn"]["description"]
