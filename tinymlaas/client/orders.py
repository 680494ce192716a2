"""A client's wish as an order, and the files that have to be uploaded for it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from tinymlaas.contract.device import DeviceProfile
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.messages import MAX_FILE_BYTES, Calibration, CompileOrder, Payload
from tinymlaas.contract.quantisation import Activations
from tinymlaas.contract.race import Race
from tinymlaas.contract.report import Objective
from tinymlaas.contract.wire import faults
from tinymlaas.inputs import read_input, symbol_prefix

_FILE_NAME = 80

Source = bytes | str | Path
Deadline = datetime | timedelta


@dataclass(frozen=True)
class Wish:
    """What is wanted besides the model; the fields are those of `CompileOrder`.

    `name` None is made of the model's file name. With a `calibration` the model races quantised
    too, or, `quantised_only`, in no other form. `budget` is in seconds of building, from when that
    is begun; with `first` the first candidate that may win ends the job. `data` are labelled
    samples to judge candidates by.
    """

    board: str | None = None
    device: DeviceProfile | None = None
    name: str | None = None
    compiler: str = "auto"
    objective: Objective | str = Objective.LATENCY
    race: Race | None = None
    first: bool = False
    budget: float | None = None
    shapes: Mapping[str, Sequence[int]] | None = None
    options: Mapping[str, str] | None = None
    calibration: Source | None = None
    activations: Activations | str = Activations.INT8
    quantised_only: bool = False
    data: Source | None = None
    priority: int = 4
    deadline: Deadline | None = None


def order_of(tenant: str, model: Source, wish: Wish) -> tuple[CompileOrder, list[bytes]]:
    """Return the order of `tenant`, and the files that must be in the store before it is sent.

    Raises:
        UsageError: a file cannot be read, or something of the wish is malformed; says what.
    """
    data, filename = _read(model, "model")
    files = [data]
    facts: dict[str, Any] = {
        "tenant": tenant,
        "name": wish.name or (symbol_prefix(Path(filename)) if filename else "model"),
        "model": Payload.of(data, tenant, _plain(filename, "model")),
        "board": wish.board,
        "device": wish.device,
        "compiler": wish.compiler,
        "objective": wish.objective,
        "race": wish.race or Race(),
        "first": wish.first,
        "budget": wish.budget,
        "shapes": {name: tuple(shape) for name, shape in (wish.shapes or {}).items()},
        "options": dict(wish.options or {}),
        "priority": wish.priority,
        "deadline": _moment(wish.deadline),
    }
    if wish.quantised_only and wish.calibration is None:
        raise UsageError("--int8 needs samples to quantise with: give --calibration FILE.npz")
    if wish.calibration is not None:
        samples, name = _read(wish.calibration, "calibration file")
        payload = Payload.of(samples, tenant, _plain(name, "calibration.npz"))
        facts["calibration"] = {
            "samples": payload,
            "activations": wish.activations,
            "only": wish.quantised_only,
        }
        files.append(samples)
    if wish.data is not None:
        labelled, name = _read(wish.data, "data")
        facts["data"] = Payload.of(labelled, tenant, _plain(name, "data.npz"))
        files.append(labelled)
    try:
        if "calibration" in facts:
            facts["calibration"] = Calibration.model_validate(facts["calibration"])
        order = CompileOrder.model_validate(facts)
    except ValidationError as error:
        raise UsageError(faults(error)) from None
    payloads = zip(order.payloads(), files, strict=True)
    return order, [content for payload, content in payloads if payload.inline is None]


def _read(source: Source, what: str) -> tuple[bytes, str]:
    """Return the bytes and the file's name, "" for bytes that come without one."""
    if not isinstance(source, bytes | bytearray | memoryview):
        path = Path(source)
        return read_input(path, what, MAX_FILE_BYTES), path.name
    data = bytes(source)
    if len(data) > MAX_FILE_BYTES:
        raise UsageError(f"the {what} is larger than {MAX_FILE_BYTES:,} bytes")
    return data, ""


def _plain(name: str, otherwise: str) -> str:
    """Return `name` with nothing in it but what the contract lets a file name have."""
    plain = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[-_FILE_NAME:].lstrip(".-")
    return plain or otherwise


def _moment(deadline: Deadline | None) -> datetime | None:
    if isinstance(deadline, timedelta):
        return datetime.now(UTC) + deadline
    if deadline is not None and deadline.tzinfo is None:
        raise UsageError("the deadline needs a time zone, as in 2026-01-31T12:00:00Z")
    return deadline
