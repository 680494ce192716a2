"""What a signer says once it listens, to whoever started it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Ready:
    """Where the key is, and whether it was `created` just now; or what is `wrong`."""

    private_path: str = ""
    public_path: str = ""
    created: bool = False
    wrong: tuple[str, ...] = ()

    def line(self) -> str:
        """Return it as one line."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, line: str) -> Ready | None:
        """Return what `line` says, None if it is no such line."""
        try:
            value = json.loads(line)
            return cls(**{**value, "wrong": tuple(value["wrong"])})
        except (ValueError, TypeError, KeyError):
            return None
