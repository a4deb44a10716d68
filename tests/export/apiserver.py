"""A real Kubernetes API server on loopback, over an etcd of its own: built once, from Go's module
proxy, and kept outside the repository."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from tests.bench import free_port
from tests.golang import KEPT, Module
from tests.peers import need

MINOR: Final = "36.3"
"""Kubernetes 1.36.3, whose libraries are v0.36.3."""
GIVEN: Final = "EMU_KUBE_APISERVER"
PATIENCE_S: Final = 300.0
"""It answers 2 s after its start; many minutes later on a computer that others keep busy."""
MAIN: Final = """package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubernetes/cmd/kube-apiserver/app"
)

func main() { os.Exit(cli.Run(app.NewAPIServerCommand())) }
"""


def binary() -> str:
    """The server's path: what EMU_KUBE_APISERVER says, or ~/.cache/emu/, where it is built if it
    is not there (12 minutes of one core, 2 GB of modules)."""
    if given := os.environ.get(GIVEN):
        return given
    path = KEPT / f"kube-apiserver-1.{MINOR}"
    if not path.exists():
        _build(path)
    return str(path)


def _build(path: Path) -> None:
    """Kubernetes' own go.mod names its libraries by folders beside it: a module of ours replaces
    them by those that were published."""
    how = f"Go 1.26 builds a kube-apiserver; or name one by {GIVEN}"
    module = Module("apiserver", MAIN, install=how)
    kubernetes = f"k8s.io/kubernetes@v1.{MINOR}"
    told = json.loads(module.run("mod", "download", "-json", kubernetes))
    theirs = json.loads(module.run("mod", "edit", "-json", told["GoMod"]))
    ours = [f"-require={kubernetes}", f"-require=k8s.io/component-base@v0.{MINOR}"]
    for each in theirs["Replace"]:
        library = each["Old"]["Path"]
        ours.append(f"-replace={library}={library}@v0.{MINOR}")
    module.run("mod", "edit", *ours)
    module.build(path)


class Server:
    """What kubectl says to it."""

    def __init__(self, kubectl: str, config: Path) -> None:
        self._kubectl = [kubectl, "--kubeconfig", str(config)]

    def ask(self, *words: str, said: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self._kubectl, *words], input=said, capture_output=True, text=True,
                              timeout=PATIENCE_S, check=False)  # fmt: skip

    def dry_run(self, documents: str) -> subprocess.CompletedProcess[str]:
        """As if they were applied, with all that admits or refuses; nothing is kept."""
        return self.ask("apply", "--dry-run=server", "--validate=strict", "-f", "-", said=documents)

    def apply(self, documents: str) -> None:
        done = self.ask("apply", "-f", "-", said=documents)
        assert done.returncode == 0, done.stderr

    def add_account(self, namespace: str) -> None:
        """Without which no pod is admitted: nobody else is here who would make it."""
        done = self.ask("-n", namespace, "create", "serviceaccount", "default")
        assert done.returncode == 0, done.stderr


@contextmanager
def running(folder: Path) -> Iterator[Server]:
    """The server, with the admission that it has by default."""
    etcd, kubectl, server = need("etcd", "etcd-server"), need("kubectl"), binary()
    ports = {name: free_port() for name in ("store", "peers", "server")}
    at = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
    token = secrets.token_hex(16)
    _write_secret(folder / "tokens.csv", f"{token},admin,admin,system:masters\n")
    _write_secret(folder / "config", json.dumps(_kubeconfig(ports["server"], folder, token)))
    subprocess.run([need("openssl"), "genrsa", "-out", str(folder / "accounts.key"), "2048"],
                   capture_output=True, check=True)  # fmt: skip
    store = [
        etcd, f"--data-dir={folder / 'etcd'}", f"--listen-client-urls={at['store']}",
        f"--advertise-client-urls={at['store']}", f"--listen-peer-urls={at['peers']}",
        f"--initial-advertise-peer-urls={at['peers']}", f"--initial-cluster=default={at['peers']}",
    ]  # fmt: skip
    api = [
        server, f"--etcd-servers={at['store']}", "--bind-address=127.0.0.1",
        f"--secure-port={ports['server']}", f"--cert-dir={folder / 'certs'}",
        f"--token-auth-file={folder / 'tokens.csv'}", "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16", "--service-account-issuer=https://emu.test",
        f"--service-account-key-file={folder / 'accounts.key'}",
        f"--service-account-signing-key-file={folder / 'accounts.key'}",
    ]  # fmt: skip
    begun: list[subprocess.Popen[Any]] = []
    try:
        for name, command in (("etcd", store), ("api", api)):
            with open(folder / f"{name}.log", "wb") as log:
                begun.append(subprocess.Popen(command, stdout=log, stderr=log))
        found = Server(kubectl, folder / "config")
        _wait_ready(found, folder)
        yield found
    finally:
        for process in reversed(begun):
            process.kill()
            process.wait()


def _wait_ready(server: Server, folder: Path) -> None:
    give_up_s = time.monotonic() + PATIENCE_S
    while True:
        with suppress(subprocess.TimeoutExpired):
            if server.ask("get", "--raw", "/readyz").stdout == "ok":
                return
        log = (folder / "api.log").read_text("utf-8", "replace")
        assert time.monotonic() < give_up_s, f"not ready: {log[-3000:]}"
        time.sleep(0.2)


def _write_secret(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text)


def _kubeconfig(port: int, folder: Path, token: str) -> dict[str, Any]:
    certificate = str(folder / "certs" / "apiserver.crt")
    cluster = {"server": f"https://127.0.0.1:{port}", "certificate-authority": certificate}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "it", "cluster": cluster}],
        "users": [{"name": "us", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "us"}}],
        "current-context": "it",
    }
