"""How this process's jobs are contained, as its environment and its command line say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from tinymlaas.contract.errors import UsageError

if TYPE_CHECKING:  # loaded when something is contained: the command line names only the variable
    from workers import sandbox

UNSAFE_FLAG = "--unsafe-no-sandbox"
UNSAFE_VARIABLE = "TINYMLAAS_UNSAFE_NO_SANDBOX"
UNSAFE_NOTICE = (
    f"no sandbox: parsers and compilers run with all your rights, as asked ({UNSAFE_FLAG})"
)
_YES, _NO = {"1", "true", "yes"}, {"", "0", "false", "no"}


def from_environment(
    environment: Mapping[str, str] = os.environ, memory: int | None = None
) -> sandbox.Settings:
    """Return what `environment` asks for; no step gets more than `memory` bytes (None: its own).

    Raises:
        UsageError: a variable is malformed; each has its reason.
    """
    from workers import sandbox
    from workers.sandbox import limits

    wrong: list[str] = []
    found = dict(limits.DEFAULTS)
    try:
        found = limits.parse(environment.get(limits.VARIABLE, ""))
    except UsageError as error:
        wrong += error.reasons
    unsafe = environment.get(UNSAFE_VARIABLE, "").strip().lower()
    if unsafe not in _YES | _NO:
        wrong.append(f"{UNSAFE_VARIABLE} is 1 or 0, not '{unsafe[:40]}'")
    if wrong:
        raise UsageError(*wrong)
    return sandbox.Settings(limits.at_most(found, memory), unsafe in _YES)


def contain() -> None:
    """Have this process's jobs contained as its environment says.

    Raises:
        UsageError: see `from_environment`.
    """
    from workers import sandbox

    sandbox.configure(from_environment())
