"""What `emu export kubernetes` writes: objects that the API takes, pods that are the nodes, and
policies that let through what emu's own network does."""

from __future__ import annotations

import os
import re
import socket
import stat
import subprocess
import time
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from jsonschema.validators import Draft202012Validator
from kubernetes_validate.utils import schema_contents
from referencing import Registry, Resource
from ruamel.yaml import YAML

from emu.export import files
from emu.export.manifests import (
    EMU,
    FOLDER,
    HEALTH,
    STALE_S,
    STATE,
    Export,
    common,
    emu_objects,
    tier_objects,
    with_emu,
)
from emu.export.pods import campaign, pods
from emu.export.policies import policies
from emu.machine.access import may_dial, rights_at
from emu.processes.join import ALIVE, write_health
from emu.state import StateFolder
from emu.topology import shipped
from emu.topology.loading import load, loads
from nodes.base import ADMIN_PORT, OUTSIDE, RPC_PORT
from tests.cli.running import emu

VERSION = "1.34"
NAMES = shipped.names()
TOKEN = "t" * 32


@cache
def exported(name: str) -> Export:
    path = shipped.find(name)
    topology = load(path)
    texts = {path.name: path.read_text()}
    texts |= {Path(each).name: Path(each).read_text() for each in topology.code}
    return Export(topology, texts, "emu:1", TOKEN)


def documents(text: str) -> list[dict[str, Any]]:
    return list(YAML(typ="safe").load_all(text))


@cache
def objects(name: str) -> list[dict[str, Any]]:
    export = exported(name)
    tiers = (each for tier in export.joined for each in tier_objects(export, tier))
    return [*common(export), *emu_objects(export), *tiers, *policies(export)]


@cache
def schema(kind: str, version: str) -> Draft202012Validator:
    """Of the API's own, as kubernetes-validate has them; which reads a megabyte for each object."""
    folder = f"kubernetes-json-schema/v{VERSION}.0-local-strict"
    of_group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", version)
    found = schema_contents(f"{folder}/{kind.lower()}-{of_group}.json", VERSION)
    return Draft202012Validator(found, registry=_definitions(folder))


@cache
def _definitions(folder: str) -> Registry:
    found = Resource.from_contents(schema_contents(f"{folder}/_definitions.json", VERSION))
    return Registry().with_resource("_definitions.json", found).crawl()


def check(manifest: dict[str, Any]) -> None:
    schema(manifest["kind"], manifest["apiVersion"]).validate(manifest)


def of_kind(found: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


@pytest.mark.parametrize("name", NAMES)
def test_every_object_of_every_shipped_topology_is_as_the_api_has_it(name):
    export = exported(name)
    for each in (*objects(name), *pods(export), *campaign(export, seeds=100, parts=4)):
        check(each)
    seen = [(each["kind"], each["metadata"]["name"]) for each in objects(name)]
    assert len(seen) == len(set(seen))


def test_what_the_api_does_not_have_would_be_found():
    pod = of_kind(list(pods(exported("04"))), "Pod")["web-1"]
    kubernetes_validate.validate(pod, VERSION, strict=True)
    pod["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, VERSION, strict=True)
    with pytest.raises(jsonschema.ValidationError):
        check(pod)


def test_the_files_have_every_object_in_the_order_in_which_they_are_needed():
    written = files.kubernetes(exported("04"))
    read = [
        each for path in written if path.endswith("yaml") for each in documents(written[path][0])
    ]
    assert sorted(read, key=str) == sorted(objects("04"), key=str)
    assert [each["kind"] for each in read[:3]] == ["Namespace", "ConfigMap", "Secret"]
    assert not any("&id" in text for text, _ in written.values()), "no aliases: not all know them"


@pytest.mark.parametrize("name", NAMES)
def test_every_node_that_serves_has_a_pod_of_its_name_and_all_others_are_with_emu(name):
    topology = exported(name).topology
    found = []
    for each in of_kind(objects(name), "StatefulSet").values():
        first = each["spec"].get("ordinals", {"start": 0})["start"]
        found += [
            f"{each['metadata']['name']}-{first + place}"
            for place in range(each["spec"]["replicas"])
        ]
    serving = [node for tier in topology.tiers if not with_emu(tier) for node in tier.node_names]
    assert sorted(found) == sorted([f"{EMU}-0", *serving])
    assert sorted(of_kind(list(pods(exported(name))), "Pod")) == sorted([EMU, *serving])


# --- policies ---------------------------------------------------------------------------------


def lets_through(
    rules: dict[str, Any], dialer: dict[str, str] | None, target: dict[str, str], port: int
) -> bool:
    """As a network plugin reads them: both the dialler's pod and the target's must allow it.
    `dialer` None: somebody from outside."""

    def fits(selector: dict[str, Any], pod: dict[str, str]) -> bool:
        wanted = selector.get("matchLabels", {})
        return all(pod.get(key) == value for key, value in wanted.items())

    def allows(direction: str, pod: dict[str, str], other: dict[str, str] | None) -> bool:
        ends = "from" if direction == "ingress" else "to"
        for policy in rules.values():
            if not fits(policy["spec"]["podSelector"], pod):
                continue
            for rule in policy["spec"][direction]:
                ports = [each["port"] for each in rule.get("ports", ())]
                there = rule.get(ends)
                meant = there is None or (
                    other is not None and any(fits(each["podSelector"], other) for each in there)
                )
                if meant and (not ports or port in ports):
                    return True
        return False

    out = dialer is None or allows("egress", dialer, target)
    return out and allows("ingress", target, dialer)


@pytest.mark.parametrize("name", NAMES)
def test_policies_let_through_what_emus_network_does_and_nothing_else(name):
    found = objects(name)
    rules, sets = of_kind(found, "NetworkPolicy"), of_kind(found, "StatefulSet")
    labels = {tier: each["spec"]["template"]["metadata"]["labels"] for tier, each in sets.items()}
    tiers = exported(name).joined
    specs = {tier.name: tier.placements()[0].spec for tier in tiers}
    asked = 0
    for target, theirs in specs.items():
        for port in {RPC_PORT, ADMIN_PORT, 1, *(each.number for each in theirs.ports)}:
            for dialer, ours in specs.items():
                may = may_dial(ours, ours.name, theirs, port)
                if port == ADMIN_PORT:
                    may = bool(rights_at(ours, ours.name, theirs, port))
                assert lets_through(rules, labels[dialer], labels[target], port) == may, (
                    dialer, target, port)  # fmt: skip
                asked += 1
            assert lets_through(rules, labels[EMU], labels[target], port), "emu dials everybody"
            outside = may_dial(None, OUTSIDE, theirs, port)
            assert lets_through(rules, None, labels[target], port) == outside
            assert not lets_through(rules, {"app": "other"}, labels[target], port) or outside
        assert lets_through(rules, labels[target], labels[EMU], RPC_PORT), "and finds the directory"
    assert asked


# --- what is written ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["04", "full"])
def test_the_pods_read_the_same_topology(name, tmp_path):
    export = exported(name)
    (config,) = of_kind(objects(name), "ConfigMap").values()
    (emus,) = [each for each in objects(name) if each["metadata"]["name"] == EMU
               and each["kind"] == "StatefulSet"]  # fmt: skip
    spec = emus["spec"]["template"]["spec"]
    (volume,) = (each for each in spec["volumes"] if each["name"] == "topology")
    for item in volume["configMap"]["items"]:
        (tmp_path / item["path"]).write_text(config["data"][item["key"]])
    verb, file, *_ = spec["containers"][0]["args"]
    assert verb == "up" and file.startswith(FOLDER)
    there = load(tmp_path / Path(file).name)
    assert there.placements() == export.topology.placements()


def test_only_the_files_with_the_token_hold_it_and_nobody_else_may_read_them(tmp_path):
    done = emu(tmp_path / "s", "export", "kubernetes", "04", "--out", str(tmp_path / "out"))
    assert done.exit_code == 0
    secret = tmp_path / "out" / "11-token.yaml"
    (token,) = documents(secret.read_text())
    text = token["stringData"]["token"]
    assert len(text) >= 32
    for path in (tmp_path / "out").iterdir():
        assert (text in path.read_text()) == (path == secret)
        assert bool(stat.S_IMODE(path.stat().st_mode) & 0o077) == (path != secret)
    again = emu(tmp_path / "s", "export", "kubernetes", "04", "--out", str(tmp_path / "out"))
    assert again.exit_code == 2 and "is not empty" in again.stderr


def test_what_cannot_be_carried_over_is_said_where_it_is(tmp_path):
    done = emu(tmp_path / "s", "export", "kubernetes", "09", "--out", str(tmp_path / "out"))
    page = (tmp_path / "out" / "README.md").read_text()
    for what in ("bandwidth that several senders share", "regions (", "is not encrypted"):
        assert what in done.stderr and what in page
    text = "name: plain\ntiers: {db: {kind: database}}\n"
    plain = Export(loads(text), {"f.yaml": text}, "emu:1", TOKEN)
    said = " ".join(files.not_carried(plain))
    assert "bandwidth" not in said and "regions" not in said


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("nomad", "04"), "`nomad` is not one of kubernetes"),
        (("kubernetes", "04", "--pods", "--campaign"), "one or the other"),
        (("kubernetes", "04", "--campaign", "--seeds", "2"), "there are only 2 seeds"),
    ],
)
def test_what_cannot_be_is_said(words, why, tmp_path):
    done = emu(tmp_path / "s", "export", *words)
    assert done.exit_code == 2 and why in done.stderr


def test_a_tier_of_emus_name_is_refused(tmp_path):
    file = tmp_path / "t.yaml"
    file.write_text(
        "name: t\ntiers:\n  web: {kind: web, public: true}\n  web-public: {kind: web}\n"
    )
    done = emu(tmp_path / "s", "export", "kubernetes", str(file))
    assert done.exit_code == 1 and "a tier is called `web-public`" in done.stderr


def test_settings_go_with_it(tmp_path):
    done = emu(tmp_path / "s", "export", "kubernetes", "04", "--set", "web.nodes=5")
    found = documents(done.stdout)
    assert of_kind(found, "StatefulSet")["web"]["spec"]["replicas"] == 5
    container = of_kind(found, "StatefulSet")[EMU]["spec"]["template"]["spec"]["containers"][0]
    assert "--set=web.nodes=5" in container["args"]


def passes(probe: dict[str, Any], folder: Path) -> bool:
    """The command of a probe, run as kubelet would, with these folders as the pod's."""
    command = [each.replace(HEALTH, str(folder)).replace(STATE, str(folder)) for each in
               probe["exec"]["command"]]  # fmt: skip
    return subprocess.run(command, check=False).returncode == 0


def test_probes_ask_what_a_node_writes_of_itself_and_emus_socket(tmp_path, monkeypatch):
    sets = of_kind(objects("01-single-server"), "StatefulSet")
    (node,) = sets["web"]["spec"]["template"]["spec"]["containers"]
    started, ready, alive = (node[f"{each}Probe"] for each in ("startup", "readiness", "liveness"))
    folder = tmp_path / "health"
    assert not passes(started, folder)
    write_health(folder, ready=False)
    assert passes(started, folder) and passes(alive, folder) and not passes(ready, folder)
    write_health(folder, ready=True)
    assert passes(ready, folder)
    long_ago_s = time.time() - STALE_S - 1
    os.utime(folder / ALIVE, (long_ago_s, long_ago_s))
    assert not passes(alive, folder), "its loop has not run for so long"

    (emus,) = sets[EMU]["spec"]["template"]["spec"]["containers"]
    run = StateFolder(tmp_path / "single-server", temporary=False)
    run.path.mkdir()
    monkeypatch.chdir(run.path)
    assert not passes(emus["readinessProbe"], tmp_path)
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(run.socket.name)  # an address of a socket is short
        assert passes(emus["readinessProbe"], tmp_path)


def test_no_two_pods_have_a_folder_of_the_same_name():
    """podman would make it one, and one node's readiness would be all others'."""
    specs = [each["spec"] for each in pods(exported("04-load-balancer")) if each["kind"] == "Pod"]
    empty = [v["name"] for spec in specs for v in spec["volumes"] if "emptyDir" in v]
    assert len(empty) == len(set(empty)) > 2 * len(specs)
    for spec in specs:
        mounted = {each["name"] for each in spec["containers"][0]["volumeMounts"]}
        assert mounted == {each["name"] for each in spec["volumes"]}
