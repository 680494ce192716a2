"""What `tinymlaas keys … --json` prints."""

from __future__ import annotations

from tinymlaas.contract.base import Model


class KeyRow(Model):
    """One key. Times are UTC to the second (RFC 3339); `standing` is one line for people.

    `status` is ``active``, ``retiring``, ``revoked``, or ``unlisted`` for a key of this folder that
    no keyring names. `signs_here` says that its private half is in this folder.
    """

    fingerprint: str
    builders: tuple[str, ...]
    status: str
    standing: str
    since: str | None = None
    until: str | None = None
    signs_here: bool = False


class KeysReport(Model):
    """The keys of one keyring, or of a folder without one (`version` is None then).

    `root` is the fingerprint of the key that signs the keyring, `threshold` how many distinct keys
    must have signed a module. `done` says what the command has changed, in lines.
    """

    status: str = "ok"
    keyring: str | None = None
    version: int | None = None
    root: str | None = None
    threshold: int = 1
    keys: tuple[KeyRow, ...] = ()
    done: tuple[str, ...] = ()
