"""What each role may do in the bucket: patterns of keys, as data, by the layout of `storage.keys`.

`aws_policy` says it as an AWS policy, `seaweedfs_actions` as the actions of a SeaweedFS identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_PROBE = ".probe/*"  # `storage.s3_probe`: whoever writes on condition tries that first


@dataclass(frozen=True)
class Power:
    """Patterns of the keys that may be read, written and listed; `*` is any text."""

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    list: tuple[str, ...] = ()
    delete: tuple[str, ...] = ()
    all: bool = False


def operator() -> Power:
    """Everything, the bucket itself too: for a person, for retention, to make the bucket."""
    return Power(("*",), ("*",), ("*",), ("*",), all=True)


def scheduler() -> Power:
    """Read all; keep uploads, what tenants are given, records, and what is known of pools."""
    places = ("blobs/*", "jobs/*", "pools/*", "races/*", "tenants/*", _PROBE)
    written_anew = ("jobs/*", "pools/*", "races/*", _PROBE)
    return Power(("*",), places, ("modules/*", "races/*"), written_anew)


def worker(pool: str) -> Power:
    """Of a compiler's pool: models in, its own outcomes and modules out; nothing of a tenant's."""
    own = tuple(f"{kind}/{pool}/*" for kind in ("actions", "references", "accuracies"))
    write = (*own, "modules/*", "blobs/*", _PROBE)
    return Power((*write, "models/*"), write, (), (*own, _PROBE))


def preparer() -> Power:
    """Of the pool that inspects and quantises: models in, models out."""
    places = ("blobs/*", "models/*", "quantisations/*", _PROBE)
    return Power(places, places, (), ("models/*", "quantisations/*", _PROBE))


def tenant(name: str) -> Power:
    """Upload, and read what is the tenant's own."""
    return Power((f"tenants/{name}/*", f"jobs/{name}/*"), (f"tenants/{name}/blobs/*",))


def aws_policy(power: Power, bucket: str) -> dict[str, Any]:
    """Return the policy to be attached to the role's user or role in AWS IAM."""
    whole = f"arn:aws:s3:::{bucket}"

    def statement(sid: str, actions: list[str], keys: tuple[str, ...]) -> dict[str, Any]:
        resources = [f"{whole}/{key}" for key in keys]
        return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": resources}

    statements: list[dict[str, Any]] = []
    if power.all:
        statements.append(
            {"Sid": "All", "Effect": "Allow", "Action": ["s3:*"], "Resource": [whole]}
        )
    if power.read:
        statements.append(statement("Read", ["s3:GetObject"], power.read))
    if power.write:
        put = ["s3:PutObject", "s3:AbortMultipartUpload"]
        statements.append(statement("Write", put, power.write))
    if power.delete:
        statements.append(statement("Delete", ["s3:DeleteObject"], power.delete))
    if power.list and not power.all:
        allowed = {"StringLike": {"s3:prefix": list(power.list)}}
        statements.append(
            {
                "Sid": "List",
                "Effect": "Allow",
                "Action": ["s3:ListBucket"],
                "Resource": [whole],
                "Condition": allowed,
            }
        )
    return {"Version": "2012-10-17", "Statement": statements}


def seaweedfs_actions(power: Power, bucket: str) -> list[str]:
    """Return the actions of the role's identity. SeaweedFS counts deleting as writing."""
    if power.all:
        return ["Admin", "Read", "Write", "List", "Tagging"]
    verbs = {"Read": power.read, "Write": power.write, "List": power.list}
    return [f"{verb}:{bucket}/{key}" for verb, keys in verbs.items() for key in keys]
