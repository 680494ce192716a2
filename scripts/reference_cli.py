"""The page of commands, from the commands themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from tinymlaas.cli import app

HEAD = """\
# Commands

Every command and every option. With `--json` stdout has JSON alone, and all messages go to stderr.

| exit status | |
| --- | --- |
| 0 | success |
| 1 | a failure of ours: one line on stderr, and what to do |
| 2 | a model, a board, an option or the environment is not acceptable; one line says why |

`watch` and `submit --wait` end as `compile` would have.
"""
OF_ALL = """\
Before the name of a command; `--unsafe-no-sandbox` also behind it. `-h` or `--help`, with any
command, shows its options.
"""
HEADINGS = "| | | default |\n| --- | --- | --- |\n"


def page() -> str:
    """Return the page: one section a command, in the order of its name."""
    root: Any = typer.main.get_command(app)
    options = "".join(map(_row, _shown(root)))
    whole = f"{HEAD}\n## tinymlaas\n\n{OF_ALL}\n{HEADINGS}{options}"
    return whole + "".join(map(_section, sorted(_commands(root, "tinymlaas"))))


def _shown(command: Any) -> list[Any]:
    return [each for each in command.params if not each.hidden and each.name != "help"]


def _commands(command: Any, name: str) -> Iterator[tuple[str, Any]]:
    if hasattr(command, "commands"):
        for word, inner in command.commands.items():
            yield from _commands(inner, f"{name} {word}")
    if not hasattr(command, "commands") or command.invoke_without_command:
        yield name, command


def _section(entry: tuple[str, Any]) -> str:
    name, command = entry
    own = _shown(command)
    arguments = [each for each in own if each.param_type_name == "argument"]
    usage = " ".join([name, *map(_placeholder, arguments), "[OPTIONS]"])
    about = "\n\n".join(" ".join(part.split()) for part in (command.help or "").split("\n\n"))
    options = [each for each in own if each not in arguments]
    rows = "".join(map(_row, [*arguments, *options]))
    return f"\n## {name}\n\n```\n{usage}\n```\n\n{about}\n" + (
        f"\n{HEADINGS}{rows}" if rows else ""
    )


def _placeholder(argument: Any) -> str:
    shown = (argument.metavar or argument.name.upper()).strip("{}[]")
    shown += "…" if argument.nargs == -1 else ""
    return shown if argument.required else f"[{shown}]"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        what = f"`{_placeholder(parameter)}`"
    else:
        value = "" if parameter.is_bool_flag else f" {_value(parameter)}"
        what = ", ".join(f"`{option}{value}`" for option in parameter.opts)
    about = " ".join((parameter.help or "").split()).replace("|", "\\|")
    again = " Repeatable." if parameter.multiple else ""
    return f"| {what} | {about}{again} | {_default(parameter)} |\n"


def _value(option: Any) -> str:
    """Return the placeholder of its value: as it was named, else by its type."""
    if option.metavar:
        return str(option.metavar)
    kind = re.search(r"int|float|Path|str", str(option.type_descriptor.annotation))
    return {"int": "N", "float": "NUMBER", "Path": "FILE"}.get(kind[0] if kind else "", "TEXT")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if callable(value) or value in (None, False, (), [], ""):
        return "–"
    return f"`{value}`"
