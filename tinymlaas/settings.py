"""Where things are kept, read once from the environment by a composition root."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

STORE_VARIABLE = "TINYMLAAS_STORE"
KEYS_VARIABLE = "TINYMLAAS_KEYS"
COMPILERS_VARIABLE = "TINYMLAAS_COMPILERS"


@dataclass(frozen=True)
class Settings:
    """Folders of one user.

    `store` holds finished work, `toolchain_cache` objects that are built once a core, `keys`
    holds the development signing key, `compilers` are folders of compilers from outside.
    """

    store: Path
    toolchain_cache: Path
    keys: Path
    compilers: tuple[Path, ...]


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """Return the settings that `environment` asks for; see README for the variables."""
    home = Path(environment.get("HOME") or Path.home())
    cache = Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "tinymlaas"
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "tinymlaas"
    folders = environment.get(COMPILERS_VARIABLE, "").split(os.pathsep)
    return Settings(
        store=Path(environment.get(STORE_VARIABLE) or cache / "store"),
        toolchain_cache=cache / "toolchain",
        keys=Path(environment.get(KEYS_VARIABLE) or config),
        compilers=tuple(Path(folder) for folder in folders if folder),
    )
