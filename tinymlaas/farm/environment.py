"""What a process of the farm reads from its environment, once, all mistakes told together."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tinymlaas import farm_settings, sandboxing, settings
from tinymlaas.contract.errors import UsageError
from tinymlaas.farm_settings import FarmSettings
from tinymlaas.log_lines import CONSOLE, FORMATS, LOG_FORMAT_VARIABLE
from tinymlaas.logs import Style
from tinymlaas.settings import Settings
from tinymlaas.status import access as status
from tinymlaas.tracing import traces_wanted
from workers import sandbox

POOLS_VARIABLE = "TINYMLAAS_POOLS"
POLICY_VARIABLE = "TINYMLAAS_POLICY"
MEMORY_VARIABLE = "TINYMLAAS_JOB_MEMORY"
DRAIN_VARIABLE = "TINYMLAAS_DRAIN_SECONDS"
HTTP_HOST_VARIABLE = "TINYMLAAS_HTTP_HOST"
HTTP_PORT_VARIABLE = "TINYMLAAS_HTTP_PORT"
LOG_LEVEL_VARIABLE = "TINYMLAAS_LOG_LEVEL"

_UNITS = {"": 1, "K": 1000, "M": 1000**2, "G": 1000**3}
_UNITS |= {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_POOL = re.compile(r"[a-z][a-z0-9-]{0,31}")
_LEAST_MEMORY = 64 << 20

T = TypeVar("T")


@dataclass(frozen=True)
class Environment:
    """Settings of one process of the farm.

    `pools` None means those whose compilers are installed; `policy` is a TOML file; `contained`
    says how jobs are kept in (`tinymlaas.sandboxing`), `drain_seconds` how long a worker may go on
    with its task after SIGTERM (None: until it is done), `http_port` 0 any free port, `traces`
    whether spans are exported, `status` who may see the status page (None: it is off).
    """

    farm: FarmSettings
    own: Settings
    pools: tuple[str, ...] | None = None
    policy: Path | None = None
    contained: sandbox.Settings = field(default_factory=sandbox.Settings)
    drain_seconds: float | None = None
    http_host: str = "127.0.0.1"
    http_port: int = 0
    log: Style = field(default_factory=Style)
    traces: bool = False
    status: status.Access | None = None


def from_environment(environment: Mapping[str, str] = os.environ) -> Environment:
    """Return what `environment` asks for; docs/farm.md lists the variables.

    Raises:
        UsageError: something is missing or malformed; each such variable has its reason.
    """
    wrong: list[str] = []

    def read(reader: Callable[[], T]) -> T | None:
        try:
            return reader()
        except UsageError as error:
            wrong.extend(error.reasons)
            return None

    def one(name: str, meaning: Callable[[str, str], T]) -> T | None:
        text = environment.get(name, "").strip()
        return read(lambda: meaning(name, text)) if text else None

    farm = read(lambda: farm_settings.from_environment(environment))
    own = read(lambda: settings.from_environment(environment))
    memory = one(MEMORY_VARIABLE, _bytes)
    contained = read(lambda: sandboxing.from_environment(environment, memory))
    found = (
        one(POOLS_VARIABLE, _pools),
        one(POLICY_VARIABLE, lambda _, text: Path(text)),
        contained or sandbox.Settings(),
        one(DRAIN_VARIABLE, _seconds),
        environment.get(HTTP_HOST_VARIABLE) or "127.0.0.1",
        one(HTTP_PORT_VARIABLE, _port) or 0,
        Style(
            one(LOG_LEVEL_VARIABLE, _level) or logging.INFO,
            one(LOG_FORMAT_VARIABLE, _format) or CONSOLE,
        ),
        read(lambda: traces_wanted(environment)) or False,
        read(lambda: status.from_environment(environment)),
    )
    if wrong or farm is None or own is None:
        raise UsageError(*wrong)
    return Environment(farm, own, *found)


def parse_pools(text: str) -> tuple[str, ...]:
    """Return the names in a list with commas.

    Raises:
        UsageError: one of them cannot be a pool's.
    """
    return _pools("--pool", text)


def _pools(name: str, text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(each.strip() for each in text.split(",") if each.strip()))
    for each in names:
        if not _POOL.fullmatch(each):
            raise UsageError(
                f"{name}: a pool is called by up to 32 of a-z, 0-9 and -, not '{each}'"
            )
    return names


def _bytes(name: str, text: str) -> int:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]i?|)B?", text)
    if found is None:
        raise UsageError(f"{name} must be bytes, as in 2GiB or 1500M, not '{text}'")
    size = int(float(found[1]) * _UNITS[found[2]])
    if size < _LEAST_MEMORY:
        raise UsageError(f"{name} must be 64MiB or more, not '{text}'")
    return size


def _seconds(name: str, text: str) -> float:
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", text):
        raise UsageError(f"{name} must be seconds, not '{text}'")
    return float(text)


def _port(name: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,5}", text) or int(text) > 65535:
        raise UsageError(f"{name} must be a TCP port or 0, not '{text}'")
    return int(text)


def _level(name: str, text: str) -> int:
    if text.upper() not in _LEVELS:
        raise UsageError(f"{name} must be one of {', '.join(_LEVELS)}, not '{text}'")
    return int(getattr(logging, text.upper()))


def _format(name: str, text: str) -> str:
    if text not in FORMATS:
        raise UsageError(f"{name} must be {' or '.join(FORMATS)}, not '{text}'")
    return text
