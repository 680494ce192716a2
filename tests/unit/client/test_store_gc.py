"""`tinymlaas store gc` over a laptop's folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest

from storage import keys
from storage.directory import DirectoryStore
from tinymlaas import upkeep
from tinymlaas.contract.errors import UsageError

DAY = 24 * 3600.0


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    """A store with an old blob that a young outcome names, an old one that nothing does, and a
    young one.
    """
    store = DirectoryStore(tmp_path / "store")
    for data in (b"needed", b"old", b"young"):
        store.put(keys.blob_of(data), data)
    named = json.dumps({"log": keys.sha256(b"needed")}).encode()
    store.put_if_absent(keys.action_outcome("cc", "a" * 64), named)
    for data in (b"needed", b"old"):
        path = tmp_path / "store" / keys.blob_of(data).path
        os.utime(path, (time.time() - 40 * DAY,) * 2)
    return store


def environment(folder: Path) -> dict[str, str]:
    return {"HOME": str(folder), "TINYMLAAS_STORE": str(folder / "store")}


def test_only_what_nothing_kept_needs_goes(store: DirectoryStore, tmp_path: Path) -> None:
    variables = environment(tmp_path)
    tried = upkeep.collect(timedelta(days=30), dry_run=True, environment=variables)
    assert (tried.dry_run, tried.removed, tried.kept) == (True, 1, 3)
    assert tried.keys == (keys.blob_of(b"old").path,)
    assert store.head(keys.blob_of(b"old")) is not None
    done = upkeep.collect(timedelta(days=30), environment=variables)
    assert done == tried.model_copy(update={"dry_run": False})
    assert store.head(keys.blob_of(b"old")) is None
    assert store.get(keys.blob_of(b"needed")) == b"needed"
    assert upkeep.collect(timedelta(days=30), environment=variables).removed == 0


def test_local_says_the_folder_though_a_bucket_is_named(
    store: DirectoryStore, tmp_path: Path
) -> None:
    variables = environment(tmp_path) | {
        "TINYMLAAS_S3_BUCKET": "b",
        "TINYMLAAS_S3_ENDPOINT": "http://127.0.0.1:9",
    }
    report = upkeep.collect(timedelta(days=30), dry_run=True, local=True, environment=variables)
    assert report.store == str(tmp_path / "store")


def test_what_a_running_job_may_need_is_not_to_be_removed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least"):
        upkeep.collect(timedelta(minutes=59), environment=environment(tmp_path))


def test_the_command(store: DirectoryStore, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tinymlaas", "store", "gc", "--older-than", "30d", "--dry-run"]
    variables = {**os.environ, **environment(tmp_path)}
    variables.pop("TINYMLAAS_S3_BUCKET", None)
    ran = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines() == [
        f"store       {tmp_path / 'store'}",
        "would go    1 of its objects, 3 B",
        "kept        3, 86 B",
    ]


def test_importing_the_package_loads_nothing_but_asking_for_the_client_does() -> None:
    code = (
        "import sys, tinymlaas; before = set(sys.modules); "
        "assert not {'pika', 'pydantic', 'boto3'} & before; "
        "from tinymlaas import Client; assert Client.__name__ == 'Client'; "
        "assert 'boto3' not in sys.modules and 'tensorflow' not in sys.modules; "
        "assert not hasattr(tinymlaas, 'Nothing')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
