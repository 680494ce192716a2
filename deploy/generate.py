"""Write what in ``deploy/k8s/`` is made of something else; ``--check`` only says what differs.

The component prometheus-operator has the rules of ``deploy/prometheus/rules/``, as kustomize cannot
put a file into an object's fields. The component rabbitmq-operator has the roles of
``deploy/roles.json``, and the scaler's, as objects of RabbitMQ's operator.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from deploy import rabbitmq
from deploy.secrets import OPERATOR, SCALER
from tinymlaas.farm.roles import tenant_role

_HERE = Path(__file__).parent
_COMPONENTS = _HERE / "k8s" / "components"
_HEAD = "# Written by `python -m deploy.generate` from {source}.\n"


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
    """Return operator, scaler, scheduler and workers with their permissions. Tenants are each
    farm's own, and `deploy.secrets` writes them.
    """
    found = json.loads(roles.read_text(encoding="utf-8"))["rabbitmq"]
    own = {
        kind: [each for each in entries if not each["user"].startswith(tenant_role(""))]
        for kind, entries in found.items()
    }
    names = [each["user"] for each in own["permissions"]]
    made = [rabbitmq.user(OPERATOR, "administrator"), rabbitmq.user(SCALER, "management")]
    made += map(rabbitmq.user, names)
    made.append(rabbitmq.permission(OPERATOR, dict.fromkeys(("configure", "write", "read"), ".*")))
    made.append(rabbitmq.permission(SCALER, dict.fromkeys(("configure", "write", "read"), "^$")))
    return _written([*made, *rabbitmq.permissions(own)], "deploy/roles.json")


def _written(made: list[dict[str, Any]], source: str) -> str:
    return _HEAD.format(source=source) + rabbitmq.written(made)


def _differs(path: Path, made: str, *, write: bool) -> bool:
    if path.exists() and path.read_text(encoding="utf-8") == made:
        return False
    if write:
        path.write_text(made, encoding="utf-8")
    return True


if __name__ == "__main__":
    sys.exit(main())
