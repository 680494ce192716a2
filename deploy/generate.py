"""Write what in ``deploy/k8s/`` is made of something else; ``--check`` only says what differs.

The component prometheus-operator has the rules of ``deploy/prometheus/rules/``, as kustomize cannot
put a file into an object's fields. The component rabbitmq-operator has the roles of
``deploy/roles.json``, and the scaler's, as objects of RabbitMQ's operator.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy.secrets import OPERATOR, SCALER

_HERE = Path(__file__).parent
_COMPONENTS = _HERE / "k8s" / "components"
_HEAD = "# Written by `python -m deploy.generate` from {source}.\n"
_CLUSTER = {"rabbitmqClusterReference": {"name": "rabbitmq"}}
_ALL, _NOTHING = ".*", "^$"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or compare them; return the process's status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; end with 1")
    check = parser.parse_args(arguments).check
    different = [path for path, made in files().items() if _differs(path, made(), write=not check)]
    for path in different:
        said = "differs; run python -m deploy.generate" if check else "written"
        print(f"{path.relative_to(_HERE.parent)}: {said}", file=sys.stderr)
    return 1 if check and different else 0


def files() -> dict[Path, Callable[[], str]]:
    """Return what makes each file."""
    return {
        _COMPONENTS / "prometheus-operator" / "rules.yaml": rules,
        _COMPONENTS / "rabbitmq-operator" / "users.yaml": users,
    }


def rules(folder: Path = _HERE / "prometheus" / "rules") -> str:
    """Return a PrometheusRule for each file of rules in `folder`."""
    made = []
    for path in sorted(folder.glob("*.yaml")):
        groups = yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]
        made.append(
            {
                "apiVersion": "monitoring.coreos.com/v1",
                "kind": "PrometheusRule",
                "metadata": {"name": f"tinymlaas-{path.stem}"},
                "spec": {"groups": groups},
            }
        )
    return _written(made, "deploy/prometheus/rules/")


def users(roles: Path = _HERE / "roles.json") -> str:
    """Return users with their permissions, of all roles, the operator and the scaler."""
    found = json.loads(roles.read_text(encoding="utf-8"))["rabbitmq"]
    names = [each["user"] for each in found["permissions"]]
    made = [_user(OPERATOR, "administrator"), _user(SCALER, "management"), *map(_user, names)]
    made.append(_permission(OPERATOR, dict.fromkeys(("configure", "write", "read"), _ALL)))
    made.append(_permission(SCALER, dict.fromkeys(("configure", "write", "read"), _NOTHING)))
    for each in found["permissions"]:
        rights = {name: each[name] for name in ("configure", "write", "read")}
        made.append(_permission(each["user"], rights))
    for each in found["topic_permissions"]:
        rights = {name: each[name] for name in ("exchange", "write", "read")}
        made.append(_permission(each["user"], rights, "TopicPermission"))
    return _written(made, "deploy/roles.json")


def _user(name: str, *tags: str) -> dict[str, Any]:
    secret = {"importCredentialsSecret": {"name": name}}
    return _object("User", name, {**secret, **({"tags": list(tags)} if tags else {})})


def _permission(user: str, rights: dict[str, str], kind: str = "Permission") -> dict[str, Any]:
    exchange = re.sub("[^a-z0-9]+", "-", rights.get("exchange", ""))
    name = "-".join(filter(None, (user, exchange)))
    spec = {"vhost": "/", "userReference": {"name": user}, "permissions": rights}
    return _object(kind, name, spec)


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


def _written(made: list[dict[str, Any]], source: str) -> str:
    text = yaml.dump_all(made, Dumper=_Plain, sort_keys=False, width=100, allow_unicode=True)
    return _HEAD.format(source=source) + text


def _differs(path: Path, made: str, *, write: bool) -> bool:
    if path.exists() and path.read_text(encoding="utf-8") == made:
        return False
    if write:
        path.write_text(made, encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(main())
