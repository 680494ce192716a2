"""What `tinymlaas store gc --json` prints."""

from __future__ import annotations

from tinymlaas.contract.base import Model


class StoreReport(Model):
    """What retention has removed, or with `dry_run` would have; counts of objects, and bytes.

    `keys` are those removed, `aborted_uploads` uploads in parts whose writers were killed.
    """

    store: str
    dry_run: bool
    removed: int
    removed_bytes: int
    kept: int
    kept_bytes: int
    aborted_uploads: int = 0
    keys: tuple[str, ...] = ()
