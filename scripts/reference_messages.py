"""The page of messages, from asyncapi.yaml, the JSON Schemas and the recorded examples."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "reference" / "examples.json"
# What the farm takes its users send, and the reverse; the rest is between scheduler and workers.
CLIENTS = ("requests", "cancels", "questions", "answers", "results")
INTERNAL = {
    "takeOutcome": "worker → scheduler",
    "takeHeartbeat": "worker → scheduler",
    "sendTask": "scheduler → worker",
    "sendKill": "scheduler → workers",
}
HEAD = """\
# Messages

All messages are CloudEvents 1.0 in structured JSON mode over AMQP 0-9-1, content type
`application/cloudevents+json`. [asyncapi.yaml](../../asyncapi.yaml) says the same for machines, and
there is a JSON Schema for each message in `tinymlaas/contract/schemas/`. How to send one:
[Publish a job](../publish.md).

Every name on the broker begins with `TINYMLAAS_QUEUE_PREFIX` where that is set. Up to 256 KiB are
taken from clients. The id of a compile request is the job's, by which a repetition is known as
such: up to 64 letters, digits, `_` and `-`. In the envelope:

| field | |
| --- | --- |
| `specversion` | `1.0` |
| `id` | 1 to 128 visible ASCII characters |
| `source` | who sends it; up to 200 visible ASCII characters |
| `type` | as below |
| `time` | RFC 3339; optional |
| `datacontenttype` | `application/json`; optional |
| `traceparent`, `tracestate` | W3C trace context; optional |
| `data` | as below; what is not named there is refused |
"""


class Types:
    """Types that messages share: named once, told at the end of the page."""

    def __init__(self) -> None:
        self.found: dict[str, dict[str, Any]] = {}

    def shown(self, schema: dict[str, Any]) -> str:
        """Return a type in words, with links to the types told below."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        for several in ("anyOf", "oneOf"):
            if several in schema:
                shown = [self.shown(each) for each in schema[several] if each.get("type") != "null"]
                return " or ".join(shown)
        if "const" in schema:
            return f"`{json.dumps(schema['const'])}`"
        if schema.get("type") == "array":
            return f"list of {self.shown(schema.get('items') or {'type': 'anything'})}"
        if schema.get("type") == "object":
            values = [*schema.get("patternProperties", {}).values()]
            inner = schema.get("additionalProperties") or (values[0] if values else None)
            return f"object of {self.shown(inner)}" if isinstance(inner, dict) else "object"
        return str(schema.get("type", "anything")) + _bounds(schema)


def page() -> str:
    """Return the page: what clients send and hear, what goes on inside, types, in that order."""
    api = yaml.safe_load((ROOT / "asyncapi.yaml").read_text())
    examples = json.loads(EXAMPLES.read_text())
    types = Types()
    parts = [HEAD, "\n## Between clients and the farm\n"]
    inside = ["\n## Between scheduler and workers\n"]
    for name, channel in api["channels"].items():
        told = _channel(api, name, channel, examples, types)
        (parts if name in CLIENTS else inside).extend(told)
    shared = ["\n## Types\n"]
    for name, schema in sorted(types.found.items()):
        shared.append(f"\n### {name}\n\n{_prose(schema)}\n{_fields(schema, types)}")
    return "".join([*parts, *inside, *shared])


def _channel(
    api: dict[str, Any], name: str, channel: dict[str, Any], examples: dict[str, Any], types: Types
) -> list[str]:
    parts = []
    for message, reference in channel["messages"].items():
        described = api["components"]["messages"][reference["$ref"].rpartition("/")[2]]
        file = described["payload"]["$ref"]
        schema = json.loads((ROOT / file).read_text())
        types.found |= schema["$defs"]
        data = schema["properties"]["data"]
        content = schema["$defs"][data["$ref"].rpartition("/")[2]]
        types.found.pop(data["$ref"].rpartition("/")[2], None)
        exchange = channel["bindings"]["amqp"].get("exchange", {}).get("name")
        example = json.dumps(examples[message], indent=2, ensure_ascii=False)
        parts += [
            f"\n### {described['name']}\n\n{_prose(schema)}\n\n| | |\n| --- | --- |\n",
            f"| direction | {_direction(api, name)} |\n",
            f"| exchange | {f'`{exchange}`' if exchange else 'none: straight to the queue'} |\n",
            f"| {'routing key' if exchange else 'queue'} | {_address(channel)} |\n",
            f"| schema | [{Path(file).name}](../../{file}) |\n",
            f"\n{_prose(channel)}\n\n{_prose(content)}\n",
            f"{_fields(content, types)}\n```json\n{example}\n```\n",
        ]
    return parts


def _direction(api: dict[str, Any], channel: str) -> str:
    for name, operation in api["operations"].items():
        if operation["channel"]["$ref"].rpartition("/")[2] == channel:
            taken = operation["action"] == "receive"
            return INTERNAL.get(name, "client → farm" if taken else "farm → client")
    raise KeyError(channel)


def _address(channel: dict[str, Any]) -> str:
    if channel["address"] is None:
        return "the reply queue that the question names"
    address = re.sub(r"\{(\w+)\}", r"<\1>", channel["address"])
    return f"`{address}`"


def _prose(schema: dict[str, Any]) -> str:
    text = " ".join(schema.get("description", "").replace("``", "`").split())
    return text.replace("<", "\\<")


def _fields(schema: dict[str, Any], types: Types) -> str:
    if "enum" in schema:
        return f"\nOne of {', '.join(f'`{value}`' for value in schema['enum'])}.\n"
    rows = []
    for name, field in schema.get("properties", {}).items():
        required = name in schema.get("required", ())
        default = "required" if required else f"`{json.dumps(field.get('default'))}`"
        rows.append(f"| `{name}` | {types.shown(field)} | {_short(default)} |\n")
    return "\n| field | type | default |\n| --- | --- | --- |\n" + "".join(rows)


def _short(default: str) -> str:
    return {"`null`": "–"}.get(default, default if len(default) < 60 else "its own defaults")


def _bounds(schema: dict[str, Any]) -> str:
    words = []
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        words.append(f"{low:,} to {high:,}")
    elif low is not None:
        words.append(f"{low:,} or more")
    if "exclusiveMinimum" in schema:
        words.append(f"above {schema['exclusiveMinimum']}")
    if "maxLength" in schema and "pattern" not in schema:
        words.append(f"up to {schema['maxLength']} characters")
    if "pattern" in schema:
        pattern = schema["pattern"].replace("|", "\\|")
        words.append(f"`{pattern}`")
    if "format" in schema:
        words.append(str(schema["format"]))
    return f", {', '.join(words)}" if words else ""
