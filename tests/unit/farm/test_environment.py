"""Settings of the farm's processes: what they mean, and every mistake told at once."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tinymlaas.contract.errors import UsageError
from tinymlaas.farm.environment import from_environment, parse_pools
from tinymlaas.logs import Style
from workers import sandbox
from workers.sandbox.limits import DEFAULTS

SOUND = {"TINYMLAAS_AMQP_URL": "amqp://broker", "TINYMLAAS_S3_BUCKET": "modules", "HOME": "/home/x"}


def test_what_is_not_said_has_a_default() -> None:
    found = from_environment(SOUND)
    assert found.farm.amqp_url == "amqp://broker"
    assert (found.pools, found.policy, found.drain_seconds) == (None,) * 3
    assert found.contained == sandbox.Settings()
    assert (found.http_host, found.http_port) == ("127.0.0.1", 0)
    assert found.log == Style(logging.INFO, "console")


def test_everything_said_is_heeded() -> None:
    found = from_environment(
        SOUND
        | {
            "TINYMLAAS_POOLS": "tvm, prepare,tvm",
            "TINYMLAAS_POLICY": "/etc/policy.toml",
            "TINYMLAAS_DRAIN_SECONDS": "12.5",
            "TINYMLAAS_HTTP_HOST": "0.0.0.0",
            "TINYMLAAS_HTTP_PORT": "9090",
            "TINYMLAAS_LOG_LEVEL": "debug",
            "TINYMLAAS_LOG_FORMAT": "json",
        }
    )
    assert found.pools == ("tvm", "prepare")
    assert found.policy == Path("/etc/policy.toml")
    assert found.drain_seconds == 12.5
    assert (found.http_host, found.http_port) == ("0.0.0.0", 9090)
    assert found.log == Style(logging.DEBUG, "json")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("67108864", 64 << 20),
        ("2GiB", 2 << 30),
        ("2Gi", 2 << 30),
        ("1.5G", 1_500_000_000),
        ("512 MiB", 512 << 20),
        ("100000K", 100_000_000),
    ],
)
def test_memory(text: str, size: int) -> None:
    found = from_environment(SOUND | {"TINYMLAAS_JOB_MEMORY": text}).contained
    assert {step: limits.memory for step, limits in found.limits.items()} == {
        step: min(limits.memory, size) for step, limits in DEFAULTS.items()
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("TINYMLAAS_JOB_MEMORY", "much"),
        ("TINYMLAAS_JOB_MEMORY", "1MiB"),
        ("TINYMLAAS_JOB_MEMORY", "-2G"),
        ("TINYMLAAS_POOLS", "tvm,Ünicode"),
        ("TINYMLAAS_POOLS", "../x"),
        ("TINYMLAAS_DRAIN_SECONDS", "-1"),
        ("TINYMLAAS_DRAIN_SECONDS", "inf"),
        ("TINYMLAAS_HTTP_PORT", "65536"),
        ("TINYMLAAS_HTTP_PORT", "http"),
        ("TINYMLAAS_LOG_LEVEL", "loud"),
        ("TINYMLAAS_LOG_FORMAT", "xml"),
        ("TINYMLAAS_UNSAFE_NO_SANDBOX", "maybe"),
        ("TINYMLAAS_SANDBOX_LIMITS", "compile.memory"),
        ("TINYMLAAS_SANDBOX_LIMITS", "brew.memory=1GiB"),
        ("TINYMLAAS_SANDBOX_LIMITS", "compile.coffee=1"),
        ("TINYMLAAS_SANDBOX_LIMITS", "compile.memory=1MiB"),
    ],
)
def test_a_mistake_names_its_variable(name: str, text: str) -> None:
    with pytest.raises(UsageError) as caught:
        from_environment(SOUND | {name: text})
    (reason,) = caught.value.reasons
    assert name in reason


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        from_environment(
            {"HOME": "/home/x", "TINYMLAAS_HTTP_PORT": "x", "TINYMLAAS_JOB_MEMORY": "x"}
        )
    told = "\n".join(caught.value.reasons)
    for name in ("AMQP_URL", "S3_BUCKET", "HTTP_PORT", "JOB_MEMORY"):
        assert f"TINYMLAAS_{name}" in told
    assert len(caught.value.reasons) == 3


def test_pools_of_an_option() -> None:
    assert parse_pools("tvm") == ("tvm",)
    with pytest.raises(UsageError, match="--pool"):
        parse_pools("a b")
