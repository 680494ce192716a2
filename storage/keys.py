"""The key layout of the object store, in one place.

    blobs/sha256/ab/<sha256>                        any bytes: models, firmware, logs
    models/<model sha256>/summary/<inspector>.json  what inspecting the model found
    actions/<pool>/<action digest>/outcome.json     what became of one compile action
    quantisations/<request digest>/outcome.json     what became of one quantisation
    references/<pool>/<model sha256>/<facts>.npz    what the reference makes of golden inputs
    accuracies/<pool>/<request digest>/outcome.json how often a module is right on labelled samples
    races/<core digest>/<00 to ff>.json             what came of some model's candidates on a core
    modules/<archive sha256>/module.zip             the module archive itself
    modules/<archive sha256>/provenance/<key fingerprint>.intoto.jsonl
    pools/<pool>/description.json                   what a worker pool can do
    tenants/<tenant>/blobs/<sha256>                 what a tenant has uploaded
    tenants/<tenant>/modules/<archive sha256>/…     its jobs' modules: archive, provenance as above
    tenants/<tenant>/logs/<sha256>                  the logs that records of its jobs name
    jobs/<tenant>/<job id>/result.json              the record of how a job ended

What no digest of its content names, a worker has below its pool's name: another pool's would be
believed. On a laptop all candidates share one pool's.
What a tenant may see is below two prefixes with its name. All else is shared, and shown to none of
them: a tenant has what its own jobs gave, never what it can name.
A `Key` can only be made for a path of this layout, so no adapter ever sees a path that leaves its
root. Keys whose last digest is that of the content carry it (`Key.sha256`); every read checks it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import StoreError

_DIGEST = "[0-9a-f]{64}"
_TENANT = "[a-z0-9][a-z0-9-]{0,31}"
_POOL = "[a-z][a-z0-9-]{0,31}"
_JOB = "[A-Za-z0-9][A-Za-z0-9_-]{0,63}"
_LAYOUT = tuple(
    re.compile(pattern)
    for pattern in (
        r"blobs/sha256/(?P<shard>[0-9a-f]{2})/(?P<sha256>(?P=shard)[0-9a-f]{62})",
        rf"models/{_DIGEST}/summary/[a-z0-9][a-z0-9.-]{{0,47}}\.json",
        rf"actions/{_POOL}/{_DIGEST}/outcome\.json",
        rf"quantisations/{_DIGEST}/outcome\.json",
        rf"references/{_POOL}/{_DIGEST}/{_DIGEST}\.npz",
        rf"accuracies/{_POOL}/{_DIGEST}/outcome\.json",
        rf"races/{_DIGEST}/[0-9a-f]{{2}}\.json",
        rf"modules/(?P<sha256>{_DIGEST})/module\.zip",
        rf"modules/{_DIGEST}/provenance/{_DIGEST}\.intoto\.jsonl",
        rf"tenants/{_TENANT}/(blobs|logs)/(?P<sha256>{_DIGEST})",
        rf"tenants/{_TENANT}/modules/(?P<sha256>{_DIGEST})/module\.zip",
        rf"tenants/{_TENANT}/modules/{_DIGEST}/provenance/{_DIGEST}\.intoto\.jsonl",
        rf"jobs/{_TENANT}/{_JOB}/result\.json",
        rf"pools/{_POOL}/description\.json",
    )
)
_PREFIX = re.compile(r"([a-z0-9][a-z0-9.-]*/)*([a-z0-9][a-z0-9.-]*)?")


def _match(path: str) -> re.Match[str]:
    for pattern in _LAYOUT:
        if found := pattern.fullmatch(path):
            return found
    raise StoreError(f"{path[:200]!a} is no key of the object store's layout")


@dataclass(frozen=True, order=True)
class Key:
    """One object's place. Raises StoreError for a path outside the layout."""

    path: str

    def __post_init__(self) -> None:
        _match(self.path)

    @property
    def sha256(self) -> str | None:
        """The digest the content must have, or None where the key is not content-addressed."""
        return _match(self.path).groupdict().get("sha256")


def checked_digest(digest: str) -> str:
    """Return `digest` if it is a lower-case hexadecimal SHA-256.

    Raises:
        StoreError: it is anything else.
    """
    if not re.fullmatch(_DIGEST, digest):
        raise StoreError(f"{digest[:80]!a} is no SHA-256 digest (64 lower-case hex digits)")
    return digest


def checked_prefix(prefix: str) -> str:
    """Return `prefix` if some key could begin with it: plain segments, no ``..``, no leading /.

    Raises:
        StoreError: no key begins so.
    """
    if not _PREFIX.fullmatch(prefix) or ".." in prefix:
        raise StoreError(f"{prefix[:200]!a} is no prefix of object store keys")
    return prefix


def blob(digest: str) -> Key:
    """Key of the bytes whose SHA-256 is `digest`."""
    return Key(f"blobs/sha256/{checked_digest(digest)[:2]}/{digest}")


def blob_of(data: bytes) -> Key:
    """Key of `data` as a blob."""
    return blob(sha256(data))


def model_summary(model_digest: str, inspector: str) -> Key:
    """Key of a model's summary as `inspector` (a name with its version) found it."""
    return Key(f"models/{checked_digest(model_digest)}/summary/{inspector}.json")


def model_reference(pool: str, model_digest: str, facts_digest: str) -> Key:
    """Key of a static model's golden vectors, by the digest of all else they depend on.

    By them a worker of `pool` judges what it signs, so nobody else writes there.
    """
    facts = checked_digest(facts_digest)
    return Key(f"references/{pool}/{checked_digest(model_digest)}/{facts}.npz")


def action_outcome(pool: str, action_digest: str) -> Key:
    """Key of the outcome of one compile action, which only the compiler's `pool` may write."""
    return Key(f"actions/{pool}/{checked_digest(action_digest)}/outcome.json")


def quantisation_outcome(request_digest: str) -> Key:
    """Key of the outcome of one quantisation."""
    return Key(f"quantisations/{checked_digest(request_digest)}/outcome.json")


def accuracy(pool: str, request_digest: str) -> Key:
    """Key of how often one module is right on one file of labelled samples, as `pool` found."""
    return Key(f"accuracies/{pool}/{checked_digest(request_digest)}/outcome.json")


def races(core_digest: str) -> str:
    """Return the prefix of all races on one kind of core."""
    return f"races/{checked_digest(core_digest)}/"


def race(core_digest: str, model_digest: str) -> Key:
    """Key of what came of a model's candidates on one kind of core: one of 256 there are."""
    return Key(f"{races(core_digest)}{checked_digest(model_digest)[:2]}.json")


def module_archive(archive_digest: str) -> Key:
    """Key of the module archive whose SHA-256 is `archive_digest`."""
    return Key(f"modules/{checked_digest(archive_digest)}/module.zip")


def module_envelope(archive_digest: str, key_fingerprint: str) -> Key:
    """Key of the archive's provenance as signed by the key with `key_fingerprint`.

    One envelope a signer: a new signing key never finds an old key's envelope in the cache.
    """
    return Key(f"{envelopes(archive_digest)}{checked_digest(key_fingerprint)}.intoto.jsonl")


def envelopes(archive_digest: str) -> str:
    """Return the prefix of all envelopes of an archive."""
    return f"modules/{checked_digest(archive_digest)}/provenance/"


def given(tenant: str, key: Key) -> Key:
    """Return where `tenant` finds its copy of an archive or envelope.

    Raises:
        StoreError: `key` is of neither.
    """
    if not key.path.startswith("modules/"):
        raise StoreError(f"{key.path} is no module's: none is given to tenants")
    return Key(f"tenants/{tenant}/{key.path}")


def tenant_blob(tenant: str, digest: str) -> Key:
    """Key of a file that `tenant` has uploaded; other tenants' jobs never read it."""
    return Key(f"tenants/{tenant}/blobs/{checked_digest(digest)}")


def tenant_log(tenant: str, digest: str) -> Key:
    """Key of a log that a record of the tenant's names."""
    return Key(f"tenants/{tenant}/logs/{checked_digest(digest)}")


def job_result(tenant: str, job_id: str) -> Key:
    """Key of the record of how a tenant's job ended."""
    return Key(f"jobs/{tenant}/{job_id}/result.json")


def pool_description(pool: str) -> Key:
    """Key of what is known of a worker pool."""
    return Key(f"pools/{pool}/description.json")
