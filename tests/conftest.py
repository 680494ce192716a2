from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Under nohup, or in the background of a script, our children would ignore them.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests that share one RabbitMQ and one S3 server, one farm or one trained network: each costs
# seconds to start, so one process of pytest-xdist runs them all.
_TOGETHER = {
    **{f"tests/integration/{name}": "services" for name in ("broker", "chaos", "client", "farm")},
    **{f"tests/integration/{name}": "services" for name in ("powers", "services", "storage")},
    "tests/integration/tracing": "services",
    "tests/integration/status": "status",
    "tests/integration/roots/test_processes.py": "processes",
    "tests/integration/roots/test_up.py": "up",
    "tests/integration/observing": "observing",
    "tests/integration/quantise/test_quantise.py": "trained",
    "tests/integration/pods/test_farm.py": "pods",
}


class Together(LoadScopeScheduling):
    """Gives every test to the process that is free, but those of one group to one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return _TOGETHER.get(file) or _TOGETHER.get(file.rpartition("/")[0]) or nodeid


# The group marks of xdist 3.8 (--dist loadgroup) have no effect with pytest 9.2.
def pytest_xdist_make_scheduler(config: Any, log: Any) -> Together:
    return Together(config, log)


# By tinymlaas.cli_jobs and tinymlaas.logs.
_SILENCED = ("broker", "opentelemetry", "pika", "tinymlaas.client")


@pytest.fixture(autouse=True)
def what_is_silenced_is_heard_again() -> Iterator[None]:
    """A command in our own process would leave later tests of the log without one."""
    loggers = [logging.getLogger(name) for name in _SILENCED]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


class AtOnce:
    """Names a test that failed when it fails: the whole takes a quarter of an hour."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: Any) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and reporter is not None:
            reporter.write_line(f"FAILED {report.nodeid} ({report.when})")


def pytest_configure(config: Any) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(AtOnce(config))
