"""Where things are kept, read once from the environment by a composition root."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinymlaas.contract.errors import UsageError

STORE_VARIABLE = "TINYMLAAS_STORE"
KEYS_VARIABLE = "TINYMLAAS_KEYS"
COMPILERS_VARIABLE = "TINYMLAAS_COMPILERS"
SIGNER_VARIABLE = "TINYMLAAS_SIGNER"
KEYRING_VARIABLE = "TINYMLAAS_KEYRING"


@dataclass(frozen=True)
class Settings:
    """Folders of one user.

    `store` holds finished work, `toolchain_cache` objects that are built once a core, `keys`
    holds the signing keys, `compilers` are folders of compilers from outside. `signer` is the
    socket of a signer that runs elsewhere; without it each process that signs has its own.
    `keyring` says whose modules are trusted; without it the user's own keys are.
    """

    store: Path
    toolchain_cache: Path
    keys: Path
    compilers: tuple[Path, ...]
    signer: Path | None = None
    keyring: Path | None = None


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that `environment` asks for; docs/reference/environment.md has all.

    Raises:
        UsageError: there is no home folder to keep anything in.
    """
    home = _home(environment)
    cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "tinymlaas"
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "tinymlaas"
    folders = environment.get(COMPILERS_VARIABLE, "").split(os.pathsep)
    return Settings(
        store=Path(environment.get(STORE_VARIABLE) or cache / "store"),
        toolchain_cache=cache / "toolchain",
        keys=Path(environment.get(KEYS_VARIABLE) or config),
        compilers=tuple(Path(folder) for folder in folders if folder),
        signer=_path(environment.get(SIGNER_VARIABLE)),
        keyring=_path(environment.get(KEYRING_VARIABLE)),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _home(environment: Mapping[str, str]) -> Path:
    try:
        return Path(environment.get("HOME") or Path.home())
    except RuntimeError:  # a user without an entry in /etc/passwd, as in some containers
        raise UsageError("there is no home folder: set HOME to one that can be written") from None
