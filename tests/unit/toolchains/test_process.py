import os
import time

import pytest

from tinymlaas.contract.device import Core
from tinymlaas.contract.errors import ToolchainError
from workers.toolchains import process
from workers.toolchains.toolchain import cannot_link, toolchain_for


def _gone(pid):
    for _ in range(100):
        try:
            with open(f"/proc/{pid}/stat") as stat:
                if stat.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.05)
    return False


def test_output_and_status(tmp_path):
    done = process.run(["sh", "-c", "echo out; echo err >&2; exit 3"], tmp_path, 10)
    assert done == process.Completed(3, "out\n", "err\n")


def test_a_time_limit_takes_the_grandchildren_along(tmp_path):
    script = "sleep 1000 & echo $! > pid; wait"
    with pytest.raises(process.TimedOut, match="sh did not end within"):
        process.run(["sh", "-c", script], tmp_path, 0.5)
    assert _gone(int((tmp_path / "pid").read_text()))


def test_a_command_that_cannot_end_is_ended(tmp_path):
    out = tmp_path / "out"
    done = process.run(
        ["sh", "-c", "echo $$; echo hello >&2; sleep 1000"],
        tmp_path,
        10,
        output=out,
        until=lambda: "hello" in out.read_text(),
    )
    assert done.returncode == 0
    assert _gone(int(out.read_text().split()[0]))


def test_children_see_no_secrets_and_speak_english(tmp_path, monkeypatch):
    monkeypatch.setenv("TINYMLAAS_SECRET", "x")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    said = process.run(["env"], tmp_path, 10).stdout
    assert "TINYMLAAS_SECRET" not in said
    assert "LC_ALL=C\n" in said


def test_a_missing_compiler_names_its_packages(monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(ToolchainError, match="apt-get install gcc-arm-none-eabi libnewlib"):
        toolchain_for(Core.CORTEX_M4).version()
    with pytest.raises(ToolchainError, match="apt-get install gcc-riscv64-unknown-elf picolibc"):
        toolchain_for(Core.RV32IMAC).version()


def test_every_core_but_msp430_can_be_linked():
    assert [core for core in Core if cannot_link(core)] == [Core.MSP430]
    with pytest.raises(ToolchainError, match="cannot be linked"):
        toolchain_for(Core.MSP430)
    assert "msp430" in str(cannot_link(Core.MSP430))
