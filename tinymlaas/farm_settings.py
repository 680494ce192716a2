"""Where the farm is, read once from the environment by a composition root."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from tinymlaas.contract.errors import UsageError

AMQP_VARIABLE = "TINYMLAAS_AMQP_URL"
ENDPOINT_VARIABLE = "TINYMLAAS_S3_ENDPOINT"
BUCKET_VARIABLE = "TINYMLAAS_S3_BUCKET"
PREFIX_VARIABLE = "TINYMLAAS_QUEUE_PREFIX"
TENANT_VARIABLE = "TINYMLAAS_TENANT"
REQUIRED = (AMQP_VARIABLE, BUCKET_VARIABLE)


@dataclass(frozen=True)
class FarmSettings:
    """The services of one farm; AWS's usual variables are read by boto3 itself.

    `endpoint` None is AWS. `prefix` goes before all names on the broker, so that several farms may
    share one. `tenant` is whose jobs a client sends and asks for.
    """

    amqp_url: str
    bucket: str
    endpoint: str | None = None
    prefix: str = ""
    tenant: str = "default"


def from_environment(environment: Mapping[str, str] = os.environ) -> FarmSettings:
    """Return the settings that `environment` asks for; docs/reference/environment.md has all.

    Raises:
        UsageError: variables are missing, all of which are named, or malformed.
    """
    missing = [name for name in REQUIRED if not environment.get(name)]
    if missing:
        raise UsageError(
            f"no farm: set {' and '.join(missing)}; 'tinymlaas farm up --private --state DIR' "
            "starts one here and writes them to DIR/env"
        )
    tenant = checked_tenant(environment.get(TENANT_VARIABLE) or "default", TENANT_VARIABLE)
    return FarmSettings(
        amqp_url=environment[AMQP_VARIABLE],
        bucket=environment[BUCKET_VARIABLE],
        endpoint=environment.get(ENDPOINT_VARIABLE) or None,
        prefix=prefix_from_environment(environment),
        tenant=tenant,
    )


def prefix_from_environment(environment: Mapping[str, str] = os.environ) -> str:
    """Return what goes before all names on the broker.

    Raises:
        UsageError: it is malformed.
    """
    prefix = environment.get(PREFIX_VARIABLE, "")
    if not re.fullmatch(r"([a-z0-9][a-z0-9.-]{0,31})?", prefix):
        raise UsageError(f"{PREFIX_VARIABLE} must be up to 32 of a-z, 0-9, . and -, not '{prefix}'")
    return prefix


def checked_tenant(name: str, what: str) -> str:
    """Return `name` if a tenant may be called so; `what` says where it was given.

    Raises:
        UsageError: none may.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,31}", name):
        raise UsageError(f"{what} must be up to 32 of a-z, 0-9 and -, not '{name[:80]}'")
    return name
