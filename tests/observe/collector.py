"""A real OpenTelemetry collector on loopback, that prints the spans it takes: built once, from Go's
module proxy."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from socket import create_connection
from typing import Final

from tests.bench import free_port
from tests.golang import KEPT, Module

VERSION: Final = "0.165.0"
PATIENCE_S: Final = 60.0
PARTS: Final = ("otelcol", "service", "receiver/otlpreceiver", "exporter/debugexporter")
MAIN: Final = """package main

import (
	"log"

	"go.opentelemetry.io/collector/component"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/confmap/provider/fileprovider"
	"go.opentelemetry.io/collector/exporter"
	"go.opentelemetry.io/collector/exporter/debugexporter"
	"go.opentelemetry.io/collector/otelcol"
	"go.opentelemetry.io/collector/receiver"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/service/telemetry/otelconftelemetry"
)

func factories() (otelcol.Factories, error) {
	in, out := otlpreceiver.NewFactory(), debugexporter.NewFactory()
	return otelcol.Factories{
		Receivers: map[component.Type]receiver.Factory{in.Type(): in},
		Exporters: map[component.Type]exporter.Factory{out.Type(): out},
		Telemetry: otelconftelemetry.NewFactory(),
	}, nil
}

func main() {
	resolver := confmap.ResolverSettings{
		ProviderFactories: []confmap.ProviderFactory{fileprovider.NewFactory()},
		DefaultScheme:     "file",
	}
	command := otelcol.NewCommand(otelcol.CollectorSettings{
		BuildInfo:              component.BuildInfo{Command: "otelcol"},
		Factories:              factories,
		ConfigProviderSettings: otelcol.ConfigProviderSettings{ResolverSettings: resolver},
	})
	if err := command.Execute(); err != nil {
		log.Fatal(err)
	}
}
"""
CONFIG: Final = """
receivers: {{otlp: {{protocols: {{http: {{endpoint: "127.0.0.1:{port}"}}}}}}}}
exporters: {{debug: {{verbosity: detailed}}}}
service:
  telemetry: {{metrics: {{level: none}}}}
  pipelines: {{traces: {{receivers: [otlp], exporters: [debug]}}}}
"""
FIELD: Final = re.compile(r"^ {4}(Trace ID|Parent ID|ID|Name|Kind) *: (.*)$")


def binary() -> str:
    """Its path in ~/.cache/emu/, where it is built if it is not there (2 minutes of a core)."""
    path = KEPT / f"otelcol-{VERSION}"
    if not path.exists():
        module = Module("otelcol", MAIN, install="Go 1.26 builds an OpenTelemetry collector")
        named = [f"-require=go.opentelemetry.io/collector/{each}@v{VERSION}" for each in PARTS]
        module.run("mod", "edit", *named)
        module.build(path)
    return str(path)


class Collector:
    """Where it listens, and what it took."""

    def __init__(self, port: int, said: Path) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self._said = said

    def spans(self) -> list[dict[str, str]]:
        """As it printed them: Trace ID, Parent ID, ID, Name, Kind."""
        found: list[dict[str, str]] = []
        for line in self._said.read_text("utf-8").splitlines():
            if line.startswith("Span #"):
                found.append({})
            elif found and (match := FIELD.match(line)):
                found[-1][match[1]] = match[2]
        return found


@contextmanager
def running(folder: Path) -> Iterator[Collector]:
    port, config, said = free_port(), folder / "collector.yaml", folder / "collector.txt"
    config.write_text(CONFIG.format(port=port))
    with said.open("wb") as log:
        process = subprocess.Popen([binary(), "--config", str(config)], stdout=log, stderr=log)
    try:
        give_up_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up_s:
            assert process.poll() is None, said.read_text("utf-8")
            with suppress(OSError), create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.05)
        yield Collector(port, said)
    finally:
        process.terminate()
        process.wait()
