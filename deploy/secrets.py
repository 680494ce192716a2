"""Make what a farm keeps secret: ``python -m deploy.secrets --out DIR --tenant acme``.

For each role (docs/farm.md) a user of RabbitMQ and credentials for S3, for each compiler's pool a
signing key, the token of the status page; and the keyring, which is public. Everything goes into
DIR: ``secrets.yaml`` is for ``kubectl apply -f``, as is ``tenants.yaml`` where RabbitMQ's operators
make its users. What is there already is kept, the other options too, so that a tenant is added by
running it again with one more ``--tenant``.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from broker import powers as on_broker
from broker.topology import Names
from deploy import rabbitmq
from storage import files, key_folder
from storage import powers as in_bucket
from storage.provenance import pool_builder
from tinymlaas.contract.errors import TinymlaasError, UsageError
from tinymlaas.contract.pool_messages import PREPARE_POOL
from tinymlaas.farm.environment import parse_pools
from tinymlaas.farm.roles import SCHEDULER, Role, roles, tenant_role
from tinymlaas.farm_settings import PREFIX_VARIABLE, checked_tenant, prefix_from_environment
from tinymlaas.keyrings import adopt

POOLS = ("tvm", "tflm", "cmsis-nn", PREPARE_POOL)
OPERATOR, SCALER = "operator", "scaler"
STATUS = "status-page"
_STATE, _OUT, _TENANTS, _KEYS = "passwords.json", "secrets.yaml", "tenants.yaml", "keys"
_OPTIONS = "options.json"
_NOTHING = on_broker.Power()
_NAMES = {
    "namespace": "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?",
    "bucket": "[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
}
# What no `kubectl apply` takes away, nor RabbitMQ when it reads its definitions anew.
_STILL_THERE = """\
{name} is out of the files, but not out of the cluster until you
  kubectl -n {namespace} delete secret {name}
and, of RabbitMQ inside or elsewhere, or by its operators,
  kubectl -n {namespace} exec rabbitmq-0 -- rabbitmqctl delete_user {name}
  kubectl -n {namespace} delete users.rabbitmq.com {name}"""


@dataclass(frozen=True)
class Wanted:
    """What is asked for; `without` are tenants that are no more. `broker` and `management` are URLs
    without user, None those of the cluster's own RabbitMQ; `s3` are credentials made elsewhere, by
    role: access key id and secret.
    """

    pools: tuple[str, ...]
    tenants: tuple[str, ...]
    without: tuple[str, ...] = ()
    namespace: str = "tinymlaas"
    prefix: str = ""
    bucket: str = "tinymlaas"
    broker: str | None = None
    management: str | None = None
    s3: Mapping[str, tuple[str, str]] | None = None

    @property
    def broker_url(self) -> str:
        """Where clients publish, also those of other namespaces."""
        return self.broker or f"amqp://rabbitmq.{self.namespace}.svc:5672"

    @property
    def management_url(self) -> str:
        """Where KEDA asks, which lives in a namespace of its own."""
        return self.management or f"http://rabbitmq.{self.namespace}.svc:15672"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write all into the folder asked for; return the process's status."""
    parser = argparse.ArgumentParser(prog="python -m deploy.secrets", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="kept between runs")
    parser.add_argument("--tenant", action="append", default=[], metavar="NAME")
    parser.add_argument(
        "--without", action="append", default=[], metavar="NAME", help="a tenant that is no more"
    )
    kept = parser.add_argument_group("kept for the next run")
    kept.add_argument("--pool", action="append", metavar="NAME", help="all of ours")
    for name in ("namespace", "prefix", "bucket"):
        kept.add_argument(f"--{name}", metavar="NAME", help=f"{getattr(Wanted, name)!r}")
    kept.add_argument("--broker", metavar="URL", help="a RabbitMQ elsewhere: amqps://HOST:5671")
    kept.add_argument("--management", metavar="URL", help="its management: https://HOST:15671")
    kept.add_argument("--s3", type=Path, metavar="FILE", help='{"role": ["id", "secret"], …}')
    asked = parser.parse_args(arguments)
    try:
        options = {**_loaded(asked.out / _OPTIONS), **_given(asked)}
        wanted = _wanted(asked, options)
        print(write(wanted, asked.out))
        _save(asked.out / _OPTIONS, options)
    except TinymlaasError as error:
        for reason in error.reasons:
            print(f"error: {reason}", file=sys.stderr)
        return 2
    for name in map(tenant_role, wanted.without):
        print(_STILL_THERE.format(name=name, namespace=wanted.namespace), file=sys.stderr)
    return 0


def _given(asked: argparse.Namespace) -> dict[str, Any]:
    """Return the options given that are kept, of `--s3` what the file holds."""
    names = ("pool", "namespace", "prefix", "bucket", "broker", "management")
    found = {name: value for name in names if (value := getattr(asked, name)) is not None}
    return found | ({"s3": _credentials_of(asked.s3)} if asked.s3 else {})


def _wanted(asked: argparse.Namespace, options: Mapping[str, Any]) -> Wanted:
    """Return what is asked for, now and before.

    Raises:
        UsageError: an option is malformed, or one lacks another.
    """
    found = dict(options)
    pools = parse_pools(",".join(found.pop("pool", POOLS)))
    prefix_from_environment({PREFIX_VARIABLE: found.get("prefix", "")})
    for name, pattern in _NAMES.items():
        if not re.fullmatch(pattern, found.get(name, getattr(Wanted, name))):
            raise UsageError(f"--{name}: none is called '{found[name][:80]}'")
    for name, schemes in (("broker", ("amqp", "amqps")), ("management", ("http", "https"))):
        if found.get(name):
            found[name] = _address(f"--{name}", found[name], schemes)
    if found.get("broker") and not found.get("management"):
        raise UsageError(
            "--broker: say with --management where KEDA asks that RabbitMQ, https://HOST:15671"
        )
    tenants = tuple(checked_tenant(name, "--tenant") for name in asked.tenant)
    without = tuple(checked_tenant(name, "--without") for name in asked.without)
    return Wanted(pools, tenants, without, **found)


def _address(option: str, text: str, schemes: Sequence[str]) -> str:
    """Return a URL that user, password and virtual host can be put into."""
    url = urlsplit(text)
    plain = url.hostname and "@" not in url.netloc and url.path in {"", "/"} and not url.query
    if url.scheme not in schemes or not plain:
        raise UsageError(f"{option}: write {schemes[-1]}://HOST:PORT, without user and path")
    return text


def write(wanted: Wanted, folder: Path) -> Path:
    """Write all into `folder`, made 0700 if it is not there; return the path of the YAML.

    Raises:
        StoreError: a key cannot be read or made.
        UsageError: credentials of a role are missing, or the folder cannot be used.
    """
    try:
        files.make_private_folder(folder)
        state = _State(folder / _STATE)
        wanted = replace(wanted, tenants=state.tenants(wanted))
        keys = folder / _KEYS
        for pool in _signing(wanted.pools):
            key_folder.signing_key(keys, pool_builder(pool))
        keyring = adopt(keys).read_text(encoding="utf-8")
        made = [*_objects(wanted, state, keys), _config("keyring", {"keyring.json": keyring})]
        state.save()
        for name, objects in ((_OUT, made), (_TENANTS, _tenants(wanted))):
            for each in objects:
                each["metadata"]["namespace"] = wanted.namespace
            files.replace(folder / name, rabbitmq.written(objects).encode(), folder)
    except OSError as error:
        raise UsageError(f"cannot write into {folder}: {error.strerror or error}") from error
    return folder / _OUT


def _tenants(wanted: Wanted) -> list[dict[str, Any]]:
    """Return tenants, and pools that are not ours, as users of RabbitMQ's operator; all others are
    in its component.
    """
    others = [pool for pool in wanted.pools if pool not in POOLS]
    named = roles(others, wanted.tenants, Names(wanted.prefix))
    powers = {name: role.broker for name, role in named.items() if name != SCHEDULER}
    return [*map(rabbitmq.user, powers), *rabbitmq.permissions(on_broker.permissions(powers))]


def keys_made(pools: Iterable[str] = POOLS) -> dict[tuple[str, str], set[str]]:
    """Return which objects the farm finds made, by kind and name, with their keys."""
    wanted = Wanted(tuple(pools), ())
    made = _objects(wanted, _State(None), None)
    found = {(each["kind"], each["metadata"]["name"]): set(each["stringData"]) for each in made}
    return found | {("ConfigMap", "keyring"): {"keyring.json"}}


class _State:
    """Passwords by name, made when they are asked for the first time."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._known: dict[str, str] = _loaded(path) if path else {}

    def of(self, name: str) -> str:
        return self._known.setdefault(name, secrets.token_urlsafe(24))

    def tenants(self, wanted: Wanted) -> tuple[str, ...]:
        """Return all tenants: those asked for and those of before, without those that are no more.

        Raises:
            UsageError: there is none.
        """
        for name in wanted.without:
            for prefix in ("", "s3 "):
                self._known.pop(prefix + tenant_role(name), None)
        begins = tenant_role("")
        before = [n.removeprefix(begins) for n in self._known if n.startswith(begins)]
        found = {*before, *wanted.tenants} - set(wanted.without)
        if not found:
            raise UsageError("name those who may use the farm: --tenant NAME")
        return tuple(sorted(found))

    def save(self) -> None:
        if self._path is not None:
            _save(self._path, self._known)


def _objects(wanted: Wanted, state: _State, keys: Path | None) -> list[dict[str, Any]]:
    """Return all Secrets; without `keys` those of the signing keys are empty."""
    named: dict[str, Role] = {
        OPERATOR: Role(on_broker.operator(), in_bucket.operator()),
        **roles(wanted.pools, wanted.tenants, Names(wanted.prefix)),
    }
    credentials = {name: _credentials(name, wanted, state) for name in named}
    made = [_role(name, credentials[name], wanted, state) for name in named]
    scaler = _url(wanted.management_url, SCALER, state)
    login = {"username": SCALER, "password": state.of(SCALER)}
    made.append(_secret(SCALER, {"host": scaler, **login}))
    made.append(_secret("rabbitmq-definitions", {"definitions.json": _definitions(named, state)}))
    identities = _identities(named, credentials, wanted.bucket)
    made.append(_secret("seaweedfs-identities", {"s3.json": identities}))
    made.append(_secret(STATUS, {"token": state.of(STATUS)}))
    for pool in _signing(wanted.pools):
        private = keys and key_folder.private_path(keys, pool_builder(pool))
        pem = private.read_text(encoding="ascii") if private else ""
        made.append(_secret(f"signing-key-{pool}", {f"builder-{pool}.key": pem}))
    return made


def _role(name: str, s3: tuple[str, str], wanted: Wanted, state: _State) -> dict[str, Any]:
    url = _url(wanted.broker_url, name, state)
    return _secret(
        name,
        {
            "amqp-url": url,
            "s3-access-key-id": s3[0],
            "s3-secret-access-key": s3[1],
            # As RabbitMQ's operator imports a user: components/rabbitmq-operator.
            "username": name,
            "password": state.of(name),
        },
    )


def _url(address: str, user: str, state: _State) -> str:
    return address.rstrip("/").replace("//", f"//{user}:{state.of(user)}@") + "/%2F"


def _credentials(name: str, wanted: Wanted, state: _State) -> tuple[str, str]:
    if wanted.s3 is None:
        return name, state.of(f"s3 {name}")
    if name not in wanted.s3:
        raise UsageError(f"--s3: there are no credentials for the role {name}")
    return wanted.s3[name]


def _definitions(named: Mapping[str, Role], state: _State) -> str:
    """Return RabbitMQ's definitions of all users; the scaler may look at queues, and no more."""
    users = {name: (state.of(name), role.broker) for name, role in named.items()}
    found = on_broker.definitions({**users, SCALER: (state.of(SCALER), _NOTHING)})
    for user in found["users"]:
        if user["name"] == SCALER:
            user["tags"] = "management"
    return json.dumps(found)


def _identities(
    named: Mapping[str, Role], credentials: Mapping[str, tuple[str, str]], bucket: str
) -> str:
    identities = [
        {
            "name": name,
            "credentials": [dict(zip(("accessKey", "secretKey"), credentials[name], strict=True))],
            "actions": in_bucket.seaweedfs_actions(role.bucket, bucket),
        }
        for name, role in named.items()
    ]
    return json.dumps({"identities": identities})


def _signing(pools: Iterable[str]) -> list[str]:
    return [pool for pool in pools if pool != PREPARE_POOL]


def _secret(name: str, data: dict[str, str]) -> dict[str, Any]:
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def _config(name: str, data: dict[str, str]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def _loaded(path: Path) -> dict[str, Any]:
    """Return what an earlier run has kept; nothing before the first.

    Raises:
        UsageError: it cannot be read any more.
    """
    try:
        found = json.loads(files.read(path))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise UsageError(f"{path} is damaged: {error}; bring it back from a copy") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} is damaged: it holds no object; bring it back from a copy")
    return found


def _save(path: Path, content: Mapping[str, Any]) -> None:
    try:
        files.replace(path, json.dumps(content, indent=1).encode(), path.parent)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from error


def _credentials_of(path: Path) -> dict[str, tuple[str, str]]:
    """Read credentials made elsewhere.

    Raises:
        UsageError: the file is not readable as such.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return {str(role): (str(pair[0]), str(pair[1])) for role, pair in found.items()}
    except (OSError, ValueError, AttributeError, LookupError, TypeError) as error:
        raise UsageError(f'--s3 {path}: wanted is {{"role": ["id", "secret"], …}}') from error


if __name__ == "__main__":
    sys.exit(main())
