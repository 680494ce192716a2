"""Write the JSON Schemas of the contract into tinymlaas/contract/schemas/ (--check: compare)."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tinymlaas.contract.base import Model
from tinymlaas.contract.compiler import (
    Compiled,
    CompilerDescription,
    CompileTask,
    Estimate,
    Support,
    Unsupported,
)
from tinymlaas.contract.device import DeviceProfile
from tinymlaas.contract.fit import FitReport
from tinymlaas.contract.job_status import FetchedModule, JobStatus, Submitted
from tinymlaas.contract.jobs import CandidateJob, Inspection, Outcome
from tinymlaas.contract.key_report import KeysReport
from tinymlaas.contract.manifest import ModuleManifest
from tinymlaas.contract.messages import (
    CancelRequested,
    CompileRequested,
    JobChanged,
    JobEnded,
    StatusAsked,
)
from tinymlaas.contract.model import ModelSummary
from tinymlaas.contract.pool_messages import (
    RollCalled,
    TaskEnded,
    TaskKilled,
    TaskProgressed,
    TaskSent,
    WorkerSeen,
)
from tinymlaas.contract.quantisation import QuantisationReport
from tinymlaas.contract.queue_messages import QueueAsked, QueueReport, QueueTold
from tinymlaas.contract.rebuild import RebuildReport
from tinymlaas.contract.report import (
    CompileResult,
    ErrorReport,
    RunReport,
    VerifyReport,
)
from tinymlaas.contract.store_report import StoreReport

FOLDER = Path(__file__).parents[1] / "tinymlaas" / "contract" / "schemas"
SCHEMAS: dict[str, type[Model]] = {
    "candidate-job": CandidateJob,
    "compile-result": CompileResult,
    "compiled": Compiled,
    "compiler-description": CompilerDescription,
    "device-profile": DeviceProfile,
    "error-report": ErrorReport,
    "estimate": Estimate,
    "event-cancel": CancelRequested,
    "event-compile": CompileRequested,
    "event-job-ended": JobEnded,
    "event-job-state": JobChanged,
    "event-roll-call": RollCalled,
    "event-queue": QueueAsked,
    "event-queue-state": QueueTold,
    "event-status": StatusAsked,
    "event-task": TaskSent,
    "event-task-ended": TaskEnded,
    "event-task-killed": TaskKilled,
    "event-task-progress": TaskProgressed,
    "event-worker": WorkerSeen,
    "fetched-module": FetchedModule,
    "fit-report": FitReport,
    "inspection": Inspection,
    "job-status": JobStatus,
    "keys-report": KeysReport,
    "model-summary": ModelSummary,
    "module-manifest": ModuleManifest,
    "outcome": Outcome,
    "quantisation-report": QuantisationReport,
    "queue-report": QueueReport,
    "rebuild-report": RebuildReport,
    "run-report": RunReport,
    "store-report": StoreReport,
    "submitted": Submitted,
    "support": Support,
    "task": CompileTask,
    "unsupported": Unsupported,
    "verify-report": VerifyReport,
}


def render(model: type[Model]) -> str:
    """Return the schema of `model` as it is checked in."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **model.model_json_schema(),
    }
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def main(arguments: list[str]) -> int:
    """Write all schemas, or with --check say which are stale; return the exit status."""
    wanted = {f"{name}.schema.json": render(model) for name, model in SCHEMAS.items()}
    present = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    if arguments == ["--check"]:
        stale = sorted(name for name in wanted | present if wanted.get(name) != present.get(name))
        if stale:
            print(f"stale schemas, run 'make schemas': {', '.join(stale)}", file=sys.stderr)
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for name in present.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
