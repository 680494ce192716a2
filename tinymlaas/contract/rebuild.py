"""What came of building a module again."""

from __future__ import annotations

from tinymlaas.contract.base import Model


class Difference(Model):
    """One thing that is not as it was: a fact of the compiler, or a file of the archive."""

    what: str
    before: str
    now: str


class RebuildReport(Model):
    """What `tinymlaas rebuild --json` prints; `before` and `now` are SHA-256 of the archives."""

    identical: bool
    before: str
    now: str
    differences: tuple[Difference, ...] = ()
