"""What README says of the farm is so: its commands exist, its foreign request fits the schema."""

from __future__ import annotations

import hashlib
import json
import re

import jsonschema
import pytest
import typer
import yaml

from broker.topology import COMPILE_KEY, Names, sent_by
from tests.unit.scaffold.project import ROOT
from tinymlaas.cli import app
from tinymlaas.contract.messages import CompileRequested
from tinymlaas.contract.wire import parse

TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## A farm") : TEXT.index("## Bring your own")]
(JS,) = re.findall(r"```js\n(.*?)```", SECTION, re.DOTALL)


def test_the_request_in_another_language_is_one_the_farm_takes() -> None:
    """An object of JavaScript is one of YAML, with the expressions in it as plain words."""
    (literal,) = re.findall(r"const request = (\{.*?\n\});", JS, re.DOTALL)
    request = yaml.safe_load(literal)
    model = request["data"]["model"]
    assert model["inline"] == "model.toString('base64')"
    assert model["digest"] == "createHash('sha256').update(model).digest('hex')"
    model |= {"inline": "bW9kZWw=", "digest": hashlib.sha256(b"model").hexdigest()}
    schema = ROOT / "tinymlaas" / "contract" / "schemas" / "event-compile.schema.json"
    jsonschema.validate(request, json.loads(schema.read_text()))
    parse(json.dumps(request).encode(), CompileRequested)
    assert f"'{Names().requests}', '{sent_by('default', COMPILE_KEY)}'" in JS
    assert "`reply.$" in JS, "the farm answers to such queues only"
    assert len(JS.strip().splitlines()) <= 20


def test_the_python_in_it_compiles() -> None:
    for code in re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL):
        compile(code, "README.md", "exec")


@pytest.mark.parametrize("line", re.findall(r"`tinymlaas ([^`]+)`", SECTION))
def test_commands_and_their_options_exist(line: str) -> None:
    command = typer.main.get_command(app)
    words = line.replace("[", "").replace("]", "").split()
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts}
    assert {word for word in words if word.startswith("-")} <= known


def test_options_named_of_submit_exist() -> None:
    (row,) = [line for line in SECTION.splitlines() if "`tinymlaas submit MODEL" in line]
    submit = typer.main.get_command(app).commands["submit"]
    known = {option for parameter in submit.params for option in parameter.opts}
    assert set(re.findall(r"--[a-z0-9-]+", row)) <= known
