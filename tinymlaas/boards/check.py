"""Reading a device profile, and every mistake in it at once, each with its line."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tinymlaas.boards import rules
from tinymlaas.boards.lines import KeyPath, line_index, line_of
from tinymlaas.boards.units import parse_bytes
from tinymlaas.contract.device import Core, DeviceProfile, FloatAbi, Fpu, MemoryRegion, Mve
from tinymlaas.contract.errors import InvalidBoard, UnknownBoard

_Enum = TypeVar("_Enum", bound=StrEnum)
_Problem = tuple[KeyPath, str]
_SYNTAX_LINE = re.compile(r"\(at line (\d+), column \d+\)|\(at end of document\)")


@dataclass(frozen=True)
class Mistake:
    """One mistake: the line counted from 1, the key (``memory[0].length``; empty for the file as
    a whole) and what is wrong. A `warning` does not keep the profile from being used.
    """

    line: int
    key: str
    message: str
    warning: bool = False

    def __str__(self) -> str:
        """Return ``line: key: message``."""
        label = "warning: " if self.warning else ""
        return f"{self.line}: {label}{self.key + ': ' if self.key else ''}{self.message}"


def load_file(path: Path) -> DeviceProfile:
    """Return the profile in the TOML file `path`.

    Raises:
        UnknownBoard: the file cannot be read.
        InvalidBoard: the profile has mistakes; one reason each, ``file:line: key: message``.
    """
    profile, mistakes = _read(path)
    if profile is None:
        raise InvalidBoard(*(f"{path}:{mistake}" for mistake in mistakes))
    return profile


def check_file(path: Path) -> list[Mistake]:
    """Return every mistake of the TOML file `path` in the order of its lines; none if it is sound.

    A file that is not TOML has one: where the parser stopped.

    Raises:
        UnknownBoard: the file cannot be read.
    """
    profile, mistakes = _read(path)
    if profile is not None and profile.name != path.stem:
        message = f'the file is called "{path.name}", the board "{profile.name}"; let them agree'
        line = line_of(("name",), line_index(path.read_text(encoding="utf-8")))
        mistakes = [Mistake(line, "name", message, warning=True)]
    return mistakes


def _read(path: Path) -> tuple[DeviceProfile | None, list[Mistake]]:
    """Return the profile, or its mistakes."""
    try:
        text = path.read_bytes().decode("utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise UnknownBoard(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        return None, [Mistake(line, "", "is not UTF-8 text")]
    except tomllib.TOMLDecodeError as error:
        return None, [_syntax_mistake(str(error), text)]
    data, problems = _convert(data)
    converted = {path for path, _ in problems}
    profile, errors = _validate(data)
    problems += [(path, message) for path, message in errors if path not in converted]
    problems += rules.broken(_facts(data, {path for path, _ in problems}))
    if profile is not None and not problems:
        return profile, []
    index = line_index(text)
    mistakes = [Mistake(line_of(path, index), _key(path), message) for path, message in problems]
    return None, sorted(mistakes, key=lambda mistake: mistake.line)


def _syntax_mistake(message: str, text: str) -> Mistake:
    place = _SYNTAX_LINE.search(message)
    line = int(place[1]) if place and place[1] else len(text.splitlines()) or 1
    return Mistake(line, "", f"is not valid TOML: {_SYNTAX_LINE.sub('', message).strip()}")


def _key(path: KeyPath) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)[1:]


def _convert(data: dict[str, Any]) -> tuple[dict[str, Any], list[_Problem]]:
    """Return `data` with sizes written as text made numbers, and those that cannot be.

    What cannot be converted stays as it is.
    """
    if not isinstance(data.get("memory"), list):
        return data, []
    problems: list[_Problem] = []
    memory = list(data["memory"])
    for place, region in enumerate(memory):
        if isinstance(region, dict) and isinstance(region.get("length"), str):
            try:
                memory[place] = {**region, "length": parse_bytes(region["length"])}
            except ValueError as error:
                problems.append((("memory", place, "length"), str(error)))
    return {**data, "memory": memory}, problems


def _validate(data: dict[str, Any]) -> tuple[DeviceProfile | None, list[_Problem]]:
    # By way of JSON, where strictness still lets a text name a member of an enumeration.
    # Dates, which JSON lacks, become a thing no field accepts.
    document = json.dumps(data, default=lambda value: {"date": str(value)})
    try:
        return DeviceProfile.model_validate_json(document, strict=True), []
    except ValidationError as error:
        return None, list(_problems(error))


def _problems(error: ValidationError) -> Iterator[_Problem]:
    for detail in error.errors():
        path = tuple(detail["loc"])
        fields = MemoryRegion.model_fields if len(path) > 1 else DeviceProfile.model_fields
        yield path, _message(detail, list(fields))


def _message(detail: ErrorDetails, fields: list[str]) -> str:
    kind, value = detail["type"], detail["input"]
    context = detail.get("ctx", {})
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(str(detail["loc"][-1]), fields, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"known keys: {', '.join(fields)}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return "required key is missing"
    if kind == "enum":
        return f"must be {context['expected']}, not {json.dumps(value)}"
    if kind == "string_pattern_mismatch":
        joiner = "_" if len(detail["loc"]) > 1 else "-"
        return f'must be lower-case letters, digits and "{joiner}", not {json.dumps(value)}'
    text = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    text = text if text.startswith("must ") else f"must be {text}"
    shown = json.dumps(value, default=str)
    return f"{text}, not {shown}" if len(shown) < _LONGEST_VALUE else text


_LONGEST_VALUE = 60
# What of a memory region may be malformed: the whole, or a field that is not merely unknown.
_REGION_PARTS = {(), *((field,) for field in MemoryRegion.model_fields)}


def _facts(data: dict[str, Any], wrong: set[KeyPath]) -> rules.Facts:
    """Return what is well formed in `data`, defaults included; `wrong` paths are not."""

    def text(key: str, default: str) -> str | None:
        return None if (key,) in wrong else data.get(key, default)

    def member(key: str, kind: type[_Enum], default: _Enum) -> _Enum | None:
        return None if (key,) in wrong else kind(data.get(key, default))

    memory = data.get("memory", []) if ("memory",) not in wrong else []
    fields = MemoryRegion.model_fields
    inner = [path for path in wrong if path[0] == "memory" and len(path) > 1]
    spoilt = {path[1] for path in inner if path[2:] in _REGION_PARTS}
    regions = tuple(
        (place, MemoryRegion(**{key: item[key] for key in fields}))
        for place, item in enumerate(memory)
        if place not in spoilt
    )
    return rules.Facts(
        core=None if ("core",) in wrong else Core(data["core"]),
        cpu=text("cpu", ""),
        fpu=member("fpu", Fpu, Fpu.NONE),
        dsp=None if ("dsp",) in wrong else data.get("dsp", False),
        mve=member("mve", Mve, Mve.NONE),
        float_abi=member("float_abi", FloatAbi, FloatAbi.SOFT),
        clock_given="clock_hz" in data,
        simulator=None if ("simulator",) in wrong else data.get("simulator"),
        regions=regions,
        complete=("memory",) not in wrong and not spoilt,
    )
