"""What `emu export kubernetes` writes of every shipped topology, held to a real API server."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from emu.export import files
from emu.export.pods import campaign, pods
from tests.export.apiserver import Server, running
from tests.export.test_kubernetes import NAMES, exported, objects

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("api")) as found:
        found.add_account("default")
        for name in NAMES:  # whose label says what its pods may not do
            found.apply(files.kubernetes(exported(name))["00-namespace.yaml"][0])
            found.add_account(exported(name).topology.name)
        yield found


def as_its_controller_makes_it(manifest: dict[str, Any]) -> dict[str, Any]:
    """The first pod of a StatefulSet or a Job: a template is not held to the namespace's profile,
    its pods are."""
    template = deepcopy(manifest["spec"]["template"])
    name, namespace = (manifest["metadata"][key] for key in ("name", "namespace"))
    template["metadata"] |= {"name": f"{name}-0", "namespace": namespace}
    for claim in manifest["spec"].get("volumeClaimTemplates", ()):
        called = claim["metadata"]["name"]
        there = {"claimName": f"{called}-{name}-0"}
        template["spec"]["volumes"].append({"name": called, "persistentVolumeClaim": there})
    return {"apiVersion": "v1", "kind": "Pod", **template}


@pytest.mark.parametrize("name", NAMES)
def test_every_object_of_every_shipped_topology_passes_a_real_servers_dry_run(server, name):
    export = exported(name)
    job = list(campaign(export, seeds=100, parts=4))
    written = files.kubernetes(export)
    texts = {path: text for path, (text, _) in written.items() if path.endswith(".yaml")}
    texts["pods"] = files.text_of(pods(export))
    texts["campaign"] = files.text_of(job)
    made = [each for each in (*objects(name), *job) if "template" in each.get("spec", {})]
    texts["as made"] = files.text_of(map(as_its_controller_makes_it, made))
    for path, text in texts.items():
        done = server.dry_run(text)
        assert done.returncode == 0 and "Warning" not in done.stderr, f"{path}: {done.stderr}"
        assert done.stdout.count("(server dry run)") == text.count("\nkind: "), path
    assert len(made) == len(export.joined) + 2, "each tier's, emu's, the campaign's"


def test_what_only_a_server_refuses_is_refused(server):
    export = exported("04")
    (*_, job) = campaign(export, seeds=100, parts=4)
    endless = deepcopy(job)
    del endless["spec"]["completions"]
    done = server.dry_run(files.text_of([endless]))
    assert done.returncode and "spec.completions" in done.stderr
    pod = as_its_controller_makes_it(job)
    del pod["spec"]["containers"][0]["securityContext"]
    done = server.dry_run(files.text_of([pod]))
    assert done.returncode and 'violates PodSecurity "restricted' in done.stderr
