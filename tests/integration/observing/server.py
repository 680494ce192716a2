"""Debian's Prometheus on a port and in a folder of its own, and the questions we ask of it."""

from __future__ import annotations

import json
import math
import os
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.integration.observing.faster import shorter
from tinymlaas.services.ports import free_ports
from tinymlaas.services.process import NotReady, ServerProcess

_DIRECTLY = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Series:
    """One series of an answer: its labels, and its values that are numbers."""

    labels: dict[str, str]
    values: list[float] = field(default_factory=list)


class Prometheus(ServerProcess):
    """It lives no longer than we do."""

    def __init__(self, configuration: Path, folder: Path) -> None:
        (port,) = free_ports(1)
        self._url = f"http://127.0.0.1:{port}"
        command = [
            "prometheus",
            f"--config.file={configuration}",
            f"--storage.tsdb.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--query.lookback-delta={shorter('5m')}",
        ]
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        super().__init__("prometheus", command, environment, folder)

    def check_ready(self) -> None:
        """Return if it is; see `ServerProcess.await_ready`."""
        try:
            _DIRECTLY.open(f"{self._url}/-/ready", timeout=5).close()
        except OSError as error:
            raise NotReady(str(error)) from error

    def get(self, path: str, **parameters: str) -> Any:
        """Return the data of an answer of the API; fails with what Prometheus says is wrong."""
        url = f"{self._url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with _DIRECTLY.open(url, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def now(self, expr: str, at: float) -> list[Series]:
        """Return what `expr` was at a moment."""
        found = self.get("query", query=expr, time=f"{at:.3f}")["result"]
        return [Series(each["metric"], _numbers([each["value"]])) for each in found]

    def over(self, expr: str, begin: float, end: float) -> list[Series]:
        """Return what `expr` was, each second from `begin` to `end`."""
        found = self.get(
            "query_range", query=expr, start=f"{begin:.3f}", end=f"{end:.3f}", step="1"
        )["result"]
        return [Series(each["metric"], _numbers(each["values"])) for each in found]


def _numbers(values: list[list[Any]]) -> list[float]:
    numbers = [float(value) for _, value in values]
    return [number for number in numbers if math.isfinite(number)]
