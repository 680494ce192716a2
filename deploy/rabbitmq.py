"""Users of RabbitMQ and their rights, as objects of its Messaging Topology Operator."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import yaml

_CLUSTER = {"rabbitmqClusterReference": {"name": "rabbitmq"}}
_RIGHTS, _OF_TOPICS = ("configure", "write", "read"), ("exchange", "write", "read")


def user(name: str, *tags: str) -> dict[str, Any]:
    """Return a user with the credentials of the Secret of its name."""
    secret = {"importCredentialsSecret": {"name": name}}
    return _object("User", name, {**secret, **({"tags": list(tags)} if tags else {})})


def permission(name: str, rights: Mapping[str, str], kind: str = "Permission") -> dict[str, Any]:
    """Return what the user `name` may, as ``Permission`` or ``TopicPermission``."""
    exchange = re.sub("[^a-z0-9]+", "-", rights.get("exchange", ""))
    spec = {"vhost": "/", "userReference": {"name": name}, "permissions": dict(rights)}
    return _object(kind, "-".join(filter(None, (name, exchange))), spec)


def permissions(found: Mapping[str, Iterable[Mapping[str, str]]]) -> list[dict[str, Any]]:
    """Return the permissions that RabbitMQ's definitions `found` have."""
    made = []
    for each in found["permissions"]:
        made.append(permission(each["user"], {name: each[name] for name in _RIGHTS}))
    for each in found["topic_permissions"]:
        rights = {name: each[name] for name in _OF_TOPICS}
        made.append(permission(each["user"], rights, "TopicPermission"))
    return made


def written(made: Iterable[dict[str, Any]]) -> str:
    """Return objects as YAML, without its references."""
    return yaml.dump_all(made, Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True)


def _object(kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "rabbitmq.com/v1beta1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {**spec, **_CLUSTER},
    }


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True
