"""The workbench that a task of a pool opens for itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.provenance import LOCAL_BUILDER, pool_builder
from tinymlaas.farm.bench import Place, open_bench
from tinymlaas.settings import from_environment
from workers.build import LOCAL_POOL


@pytest.mark.parametrize(
    ("compiler", "builder", "pool"),
    [("tflm", pool_builder("tflm"), "tflm"), (None, LOCAL_BUILDER, LOCAL_POOL)],
)
def test_it_is_of_the_compilers_pool(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compiler: str | None,
    builder: str,
    pool: str,
) -> None:
    """Else its references would lie where its credentials let it neither read nor write."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    own = from_environment({"HOME": str(tmp_path)})
    bench = open_bench(Place(compiler, "bucket", "http://127.0.0.1:9", own, None))
    assert (bench.builder, bench.pool) == (builder, pool)
