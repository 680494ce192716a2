"""What a container of ours is told: its environment put together, and read as the process would."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.check.known import variables
from deploy.check.model import Finding, Overlay, Pod
from tinymlaas.contract.errors import UsageError
from tinymlaas.farm import environment as farm
from tinymlaas.farm.policy import read_policy
from tinymlaas.farm_settings import AMQP_VARIABLE
from tinymlaas.sandboxing import UNSAFE_VARIABLE
from tinymlaas.settings import SIGNER_VARIABLE

SECRETS = (AMQP_VARIABLE, "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TINYMLAAS_STATUS_TOKEN")
# In the place of what only the cluster knows, when an environment is read as the process reads it.
_FILLED = {AMQP_VARIABLE: "amqp://user:secret@rabbitmq:5672/%2F"}
POLICY_KEY = "policy.toml"


@dataclass(frozen=True)
class Told:
    """A container's environment. `plain` are values that stand in the manifests, `secret` the
    references to Secrets, each a name and a key.
    """

    plain: Mapping[str, str]
    secret: Mapping[str, tuple[str, str]]


def is_ours(container: Mapping[str, Any]) -> bool:
    """Return whether the container runs our code."""
    command = list(container.get("command") or [])
    return command[:2] == ["python", "-m"] and len(command) > 2


def module(container: Mapping[str, Any]) -> str:
    """Return which of our programs it runs: ``scheduler``, ``workers``, ``tinymlaas.signer``."""
    return str((container.get("command") or ["", "", ""])[2]) if is_ours(container) else ""


def told(overlay: Overlay, container: Mapping[str, Any]) -> Told:
    """Return the container's environment; what refers to nothing is left out."""
    plain: dict[str, str] = {}
    secret: dict[str, tuple[str, str]] = {}
    for source in container.get("envFrom") or ():
        config = overlay.get("ConfigMap", (source.get("configMapRef") or {}).get("name", ""))
        plain |= (config or {}).get("data") or {}
    for each in container.get("env") or ():
        source = each.get("valueFrom") or {}
        if reference := source.get("secretKeyRef"):
            secret[each["name"]] = (reference.get("name", ""), reference.get("key", ""))
        elif reference := source.get("configMapKeyRef"):
            config = overlay.get("ConfigMap", reference.get("name", "")) or {}
            plain[each["name"]] = (config.get("data") or {}).get(reference.get("key"), "")
        else:
            plain[each["name"]] = each.get("value", "")
    return Told(plain, secret)


def option(container: Mapping[str, Any], name: str) -> str | None:
    """Return the value after ``--name`` among the container's arguments."""
    arguments = [str(each) for each in container.get("args") or ()]
    if name in arguments[:-1]:
        return arguments[arguments.index(name) + 1]
    return None


def build_seconds(overlay: Overlay) -> float | None:
    """Return how long a task may take by the overlay's policy; None without a sound one."""
    try:
        return _policy_seconds(overlay)
    except UsageError:
        return None


def check(overlay: Overlay) -> Iterator[Finding]:
    """Yield whatever is wrong with the environment and arguments of our containers."""
    yield from _policy(overlay)
    for pod in overlay.pods:
        for path, container in pod.containers():
            if is_ours(container):
                yield from _names(overlay, pod, path, container)
                yield from _values(overlay, pod, path, container)
                yield from _arguments(overlay, pod, path, container)


def _policy(overlay: Overlay) -> Iterator[Finding]:
    try:
        _policy_seconds(overlay)
    except UsageError as error:
        for reason in error.reasons:
            said = re.sub(r"\S*/policy\.toml", POLICY_KEY, reason)
            yield overlay.finding("ConfigMap/policy", POLICY_KEY, said)


def _policy_seconds(overlay: Overlay) -> float:
    texts = [
        each["data"][POLICY_KEY]
        for each in overlay.of("ConfigMap")
        if POLICY_KEY in (each.get("data") or {})
    ]
    if not texts:
        raise UsageError(f"no ConfigMap has {POLICY_KEY}, which the scheduler reads")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, POLICY_KEY)
        path.write_text(texts[0], encoding="utf-8")
        return read_policy(path)[0].build_seconds


def _names(
    overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]
) -> Iterator[Finding]:
    found = told(overlay, container)
    for name in sorted({*found.plain, *found.secret} - variables()):
        said = f"{name}: the code reads no such variable; look for a misspelling"
        yield overlay.finding(pod, f"{path}.env", said)
    named = [each.get("name") for each in container.get("env") or ()]
    for name in sorted({each for each in named if named.count(each) > 1}):
        yield overlay.finding(pod, f"{path}.env", f"{name} is there twice; only the last counts")
    for name in sorted(set(SECRETS) & set(found.plain)):
        yield overlay.finding(pod, f"{path}.env", f"{name} is secret: take it from a Secret's key")
    if found.plain.get(UNSAFE_VARIABLE):
        said = f"{UNSAFE_VARIABLE} is never set here: strangers' models are parsed in the sandbox"
        yield overlay.finding(pod, f"{path}.env", said)


def _values(
    overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]
) -> Iterator[Finding]:
    """Have the process's own reader say what is missing or malformed."""
    if module(container) not in {"scheduler", "workers"}:
        return
    found = told(overlay, container)
    filled = {name: _FILLED.get(name, "what-is-in-the-secret") for name in found.secret}
    environment = {"HOME": "/nowhere", **found.plain, **filled}
    try:
        read = farm.from_environment(environment)
    except UsageError as error:
        for reason in error.reasons:
            yield overlay.finding(pod, f"{path}.env", reason)
        return
    if read.http_host not in {"0.0.0.0", "::"}:  # noqa: S104 - probes come from the node
        said = f"{farm.HTTP_HOST_VARIABLE} has to be 0.0.0.0, or neither probes nor scrapes arrive"
        yield overlay.finding(pod, f"{path}.env", said)
    if module(container) == "workers" and read.drain_seconds is None:
        said = f"{farm.DRAIN_VARIABLE} is missing: a worker would drain until it is killed"
        yield overlay.finding(pod, f"{path}.env", said)


def _arguments(
    overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]
) -> Iterator[Finding]:
    pool, labelled = option(container, "--pool"), pod.labels.get("tinymlaas.dev/pool")
    program = module(container)
    if program in {"workers", "tinymlaas.signer"} and pool != labelled:
        said = f"--pool {pool} in a pod labelled tinymlaas.dev/pool={labelled}: make them one"
        yield overlay.finding(pod, f"{path}.args", said)
    if program in {"scheduler", "workers"}:
        ports = {p.get("name"): str(p.get("containerPort")) for p in container.get("ports") or ()}
        given = option(container, "--http-port")
        if given is None or given != ports.get("http"):
            said = f"--http-port {given} is not the container port http ({ports.get('http')})"
            yield overlay.finding(pod, f"{path}.args", said)
    if program == "workers":
        yield from _signer(overlay, pod, path, container)


def _signer(
    overlay: Overlay, pod: Pod, path: str, container: Mapping[str, Any]
) -> Iterator[Finding]:
    """Have a worker of a compiler's pool ask the signer beside it, where that listens."""
    asked = told(overlay, container).plain.get(SIGNER_VARIABLE)
    found = [each for each in pod.containers() if module(each[1]) == "tinymlaas.signer"]
    beside = [each for _, each in found]
    if option(container, "--pool") == "prepare":
        return
    for where, each in found:
        if where.startswith("init") and each.get("restartPolicy") != "Always":
            said = "has to be Always: the worker would begin when the signer ends, which is never"
            yield overlay.finding(pod, f"{where}.restartPolicy", said)
    if not beside:
        yield overlay.finding(pod, path, "a compiler's pool needs a signer beside its worker")
    elif asked != option(beside[0], "--socket"):
        said = f"{SIGNER_VARIABLE}={asked} is not where the signer listens"
        yield overlay.finding(pod, f"{path}.env", said)
