"""What an exported harness says to make and to people."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from tinymlaas.contract.manifest import ModuleManifest
from workers.pack import library_path

_FRAGMENT = """\
# Include this in the Makefile of your firmware, compile TINYMLAAS_SOURCES with TINYMLAAS_CFLAGS
# and link TINYMLAAS_LIBS. The module was compiled with:
#   {flags}
TINYMLAAS_DIR := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
TINYMLAAS_SOURCES := {sources}
TINYMLAAS_CFLAGS := -I$(TINYMLAAS_DIR) -I$(TINYMLAAS_DIR)/include
TINYMLAAS_LIBS := $(TINYMLAAS_DIR)/{library} -lm
"""

_NUMBERS = """
The arena takes {arena:,} bytes of RAM, in the section `.bss.tinymlaas_arena`. {counted}
"""
_COUNTED = "Instructions per inference are read from the core's `minstret`."
_NOT_COUNTED = (
    "This core has no counter of instructions, so none are reported; stack is not either."
)


def fragment(sources: Sequence[str], manifest: ModuleManifest) -> str:
    """Return ``harness.mk``."""
    return _FRAGMENT.format(
        flags=" ".join(manifest.compiler.cflags),
        sources=" ".join(f"$(TINYMLAAS_DIR)/{name}" for name in sources),
        library=library_path(manifest.name),
    )


def readme(manifest: ModuleManifest, file: str, *, uart: bool, counted: bool) -> str:
    """Return ``README.md`` for the UART, or else for semihosting; `file` is the archive's name."""
    path = Path(__file__).with_name("uart.md" if uart else "semihosting.md")
    text = path.read_text(encoding="utf-8").format(name=manifest.name, file=shlex.quote(file))
    said = _COUNTED if counted else _NOT_COUNTED
    return text + _NUMBERS.format(arena=manifest.arena.size, counted=said)
