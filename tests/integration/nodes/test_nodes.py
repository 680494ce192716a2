"""Every ONNX backend node test with static float32 inputs: passes, or is rejected with a reason.

docs/onnx-node-tests.md says how each ends; a row that is no longer true fails here.
"""

import re
from pathlib import Path

import pytest

from scripts.node_tests_table import TABLE, outcome
from tests.integration.nodes.driver import PASSED, REJECTED, Driver
from tests.integration.tvm.node_cases import NodeCase, collect

CHUNKS, DAILY = 80, 1
CASES = collect()
ROW = re.compile(r"^\| (test_\S+) \| (.+) \|$")


@pytest.fixture(scope="session")
def documented() -> dict[str, str]:
    rows = (ROW.match(line) for line in TABLE.read_text().splitlines())
    return {row[1]: row[2] for row in rows if row}


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Driver:
    return Driver("host", tmp_path_factory.mktemp("nodes"), tmp_path_factory.mktemp("cache"))


def _chunks() -> list[object]:
    """An eightieth of the cases is for every day, the others for `make test-all`.

    Each chunk is spread over all of them, for neighbours are cases of one operator.
    """
    return [
        pytest.param(chunk, marks=() if chunk < DAILY else pytest.mark.slow)
        for chunk in range(CHUNKS)
    ]


@pytest.mark.parametrize("chunk", _chunks())
def test_host(host: Driver, documented: dict[str, str], chunk: int) -> None:
    for case in CASES[chunk::CHUNKS]:
        result = host.run(case)
        assert result.status in (PASSED, REJECTED), f"{case.name}: {result.reason}"
        assert result.status == PASSED or result.reason
        assert documented.get(case.name) == outcome(result), case.name


def test_the_page_covers_all_and_most_pass(documented: dict[str, str]) -> None:
    assert documented.keys() == {case.name for case in CASES}
    passed = sum(row == PASSED for row in documented.values())
    assert passed >= 0.6 * len(CASES)


def _sample(documented: dict[str, str]) -> list[NodeCase]:
    """Ten of the cases that pass, spread evenly over all of them."""
    passing = [case for case in CASES if documented[case.name] == PASSED]
    return passing[:: max(1, len(passing) // 10)][:10]


@pytest.mark.slow
def test_a_sample_on_cortex_m4(documented: dict[str, str], tmp_path: Path) -> None:
    driver = Driver("mps2-an386", tmp_path, tmp_path / "cache")
    results = [driver.run(case) for case in _sample(documented)]
    assert len(results) == 10
    assert [(r.name, r.status, r.reason) for r in results if r.status != PASSED] == []
