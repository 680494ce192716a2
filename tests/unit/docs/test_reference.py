"""What docs/reference/ is made of is whole: every message has an example, every variable a line."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

from scripts import reference, reference_cli, reference_environment, reference_messages
from scripts.schemas import SCHEMAS
from tests.unit.scaffold.project import ROOT
from tinymlaas.contract.messages import CompileRequested
from tinymlaas.contract.wire import MAX_TRUSTED_BYTES, parse
from tinymlaas.farm.up import METRICS_PREFIX

API = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
MESSAGES = API["components"]["messages"]
EXAMPLES = json.loads(reference_messages.EXAMPLES.read_text())
PACKAGES = ("tinymlaas", "broker", "scheduler", "storage", "workers")
VARIABLE = re.compile(r"TINYMLAAS_[A-Z0-9_]+")
# Of the Makefile that a harness for a board comes with, not of ours.
OF_A_HARNESS = {"TINYMLAAS_CFLAGS", "TINYMLAAS_DIR", "TINYMLAAS_LIBS", "TINYMLAAS_SOURCES"}


def test_every_message_has_an_example_and_every_example_is_one() -> None:
    assert EXAMPLES.keys() == {
        reference["$ref"].rpartition("/")[2]
        for channel in API["channels"].values()
        for reference in channel["messages"].values()
    }


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_an_example_is_what_the_farm_takes(name: str) -> None:
    file = ROOT / MESSAGES[name]["payload"]["$ref"]
    example = EXAMPLES[name]
    assert example["type"] == MESSAGES[name]["name"]
    jsonschema.validate(example, json.loads(file.read_text()))
    kind = SCHEMAS[file.name.removesuffix(".schema.json")]
    parse(json.dumps(example).encode(), kind, MAX_TRUSTED_BYTES)


def test_the_least_request_of_the_page_is_one_the_farm_takes() -> None:
    page = (ROOT / "docs" / "publish.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"^```json\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    parse(shown.encode(), CompileRequested)


def test_options_before_a_command_are_on_the_page() -> None:
    page = reference_cli.page()
    assert {"--version", "--unsafe-no-sandbox"} <= set(re.findall(r"^\| `(--[a-z-]+)`", page, re.M))


def test_fields_with_their_types_and_defaults_are_on_the_page() -> None:
    page = reference_messages.page()
    request = page[
        page.index("### tinymlaas.compile.request.v1") : page.index("### tinymlaas.job.")
    ]
    for line in (
        "| direction | client → farm |",
        "| exchange | `tinymlaas.requests` |",
        "| routing key | `compile.<tenant>` |",
        "| `model` | [Payload](#payload) | required |",
        "| `priority` | integer, 0 to 9 | `4` |",
    ):
        assert line in request


def named_in_code() -> Iterator[str]:
    """Yield each string of our code that is the name of a variable."""
    for package in PACKAGES:
        for file in (ROOT / package).rglob("*.py"):
            text = file.read_text(encoding="utf-8")
            if "TINYMLAAS_" in text:
                for node in ast.walk(ast.parse(text)):
                    value = node.value if isinstance(node, ast.Constant) else None
                    if isinstance(value, str) and VARIABLE.fullmatch(value):
                        yield value


def test_every_variable_in_the_code_is_documented_and_the_reverse() -> None:
    in_code = set(named_in_code()) - OF_A_HARNESS
    lines = reference_environment.page().splitlines()
    documented = {name for line in lines for name in re.findall(r"^\| `(TINYMLAAS_[^`]+)`", line)}
    of_clients = f"{METRICS_PREFIX}<PROCESS>"  # a name for each process of `farm up`
    in_code = {of_clients if name == METRICS_PREFIX else name for name in in_code}
    assert documented == in_code


def test_a_stale_page_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "FOLDER", tmp_path)
    assert reference.main(["--check"]) == 1
    assert reference.main([]) == 0
    assert reference.main(["--check"]) == 0
    (tmp_path / "metrics.md").write_text("# Metrics\n")
    assert reference.main(["--check"]) == 1
