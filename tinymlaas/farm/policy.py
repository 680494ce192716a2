"""The scheduler's limits and shares, from a small TOML file.

    waiting = 20000            # unfinished jobs a tenant may have
    total = 50000              # and all together
    build_seconds = 1500       # what one task may take
    retries = 5                # of a task whose store or broker was away
    tenants = ["acme", "lab"]  # only these are served; without it everybody is

    [classes.gold]
    weight = 3                 # gets three times what others get while both wait
    tenants = ["acme"]

Tenants of no class are of the class ``standard``, weight 1. Metrics tell jobs by class.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from scheduler.admission import Policy
from tinymlaas.contract.base import Model
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.messages import TenantName

STANDARD = "standard"
_TOTAL = 55_000  # fewer than the broker gives a scheduler at once: the rest could not be refused
_CLASSES = 16  # each is a label of the metrics


class _Class(Model):
    weight: Annotated[float, Field(gt=0, le=1000)] = 1.0
    tenants: tuple[TenantName, ...] = ()


class _File(Model):
    waiting: Annotated[int, Field(ge=1, le=1_000_000)] = Policy.waiting
    total: Annotated[int, Field(ge=1, le=_TOTAL)] = Policy.total
    order_bytes: Annotated[int, Field(ge=1024, le=1 << 20)] = Policy.order_bytes
    total_bytes: Annotated[int, Field(ge=1 << 20)] = Policy.total_bytes
    build_seconds: Annotated[float, Field(gt=0, le=7 * 24 * 3600)] = Policy.build_seconds
    worker_seconds: Annotated[float, Field(ge=10, le=3600)] = Policy.worker_seconds
    retries: Annotated[int, Field(ge=0, le=100)] = Policy.retries
    tenants: tuple[TenantName, ...] | None = None
    classes: Annotated[
        dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")], _Class],
        Field(max_length=_CLASSES),
    ] = {}


@dataclass(frozen=True)
class TenantClasses:
    """Which tenant is of which class."""

    names: Mapping[str, str] = field(default_factory=dict)

    def all(self) -> set[str]:
        """Return all classes there are."""
        return {STANDARD, *self.names.values()}

    def of(self, tenant: str) -> str:
        """Return the class of `tenant`."""
        return self.names.get(tenant, STANDARD)


def read_policy(path: Path | None) -> tuple[Policy, TenantClasses]:
    """Return what the file says; the defaults if there is none.

    Raises:
        UsageError: it cannot be read or has mistakes, each with its place.
    """
    if path is None:
        return Policy(), TenantClasses()
    try:
        found = _File.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise UsageError(f"cannot read the policy {path}: {error.strerror or error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"the policy {path} is no TOML: {error}") from error
    except ValidationError as error:
        raise UsageError(*_mistakes(path, error)) from error
    twice = _of_two_classes(found)
    if twice:
        raise UsageError(f"the policy {path}: tenant {twice[0]} is in more than one class")
    return _policy(found), TenantClasses(
        {tenant: name for name, each in found.classes.items() for tenant in each.tenants}
    )


def _policy(found: _File) -> Policy:
    return Policy(
        tenants=None if found.tenants is None else frozenset(found.tenants),
        weights={t: each.weight for each in found.classes.values() for t in each.tenants},
        waiting=found.waiting,
        total=found.total,
        order_bytes=found.order_bytes,
        total_bytes=found.total_bytes,
        build_seconds=found.build_seconds,
        worker_seconds=found.worker_seconds,
        retries=found.retries,
    )


def _of_two_classes(found: _File) -> list[str]:
    listed = [tenant for each in found.classes.values() for tenant in each.tenants]
    return sorted({tenant for tenant in listed if listed.count(tenant) > 1})


def _mistakes(path: Path, error: ValidationError) -> list[str]:
    return [
        f"the policy {path}: {'.'.join(map(str, each['loc'])) or 'file'}: {each['msg']}"
        for each in error.errors()
    ]
