"""The set-up scripts, with fakes for all that would change the machine or reach the network."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.unit.scaffold.project import ROOT, copy

FILES = ["pyproject.toml", "constraints.txt"]
FILES += [f"scripts/{name}" for name in ("setup.sh", "system-packages.sh", "system-packages.txt")]
REQUIRED = [
    line.strip()
    for line in (ROOT / "scripts" / "system-packages.txt").read_text().splitlines()
    if line.strip() and line[0] not in "#?"
]

# Each fake notes its call in the file `calls`.
NOTE = 'echo "$(basename "$0") $*" >>"$CALLS"\n'
DPKG_QUERY = """
for package in "$@"; do
  case " $MISSING " in *" $package "*) ;; *) echo "$package install ok installed" ;; esac
done
"""
APT_GET = NOTE + '[ "$DEBIAN_FRONTEND" = noninteractive ] || exit 98\n[ ! -t 0 ] || exit 97\n'
# A Python that makes environments of itself, and whose pip does nothing but say so.
PYTHON = (
    NOTE
    + """
case "$*" in
  "--version") echo "Python 3.11.99" ;;
  *version_info*) exit "${TOO_OLD:-0}" ;;
  *"import ensurepip, venv") exit "${NO_VENV:-0}" ;;
  "-m venv --clear .venv")
    rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python
    echo "#!$PWD/.venv/bin/python" >.venv/bin/pip ;;
  *"--editable"*) touch .venv/bin/tinymlaas; chmod +x .venv/bin/tinymlaas; exit "${PIP_FAILS:-0}" ;;
esac
"""
)


class Machine:
    """A copy of the scripts and a PATH of fakes in front of the real one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = copy([Path(name) for name in FILES], folder / "project")
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.fake("dpkg-query", DPKG_QUERY)
        self.fake("apt-get", APT_GET)
        self.fake("apt-cache", "exit 100")
        self.fake("id", "echo 0")
        self.fake("sudo", NOTE + "exit 1")
        self.fake("python3", PYTHON)

    def fake(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    def run(self, script: str = "setup.sh", **environment: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "calls").unlink(missing_ok=True)
        environment = {
            "PATH": f"{self.bin}{os.pathsep}/usr/bin{os.pathsep}/bin",
            "HOME": str(self.folder / "home"),
            "CALLS": str(self.folder / "calls"),
            "MISSING": "",
            **environment,
        }
        return subprocess.run(
            ["bash", str(self.project / "scripts" / script)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )

    def calls(self, program: str) -> list[str]:
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        return [line for line in lines if line.startswith(program)]


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def error_of(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 1, result.stderr
    last = result.stderr.splitlines()[-1]
    assert last.startswith("setup: error: ")
    return last


def test_the_list_has_all_that_is_needed() -> None:
    assert {"gcc-arm-none-eabi", "qemu-system-arm", "gcc-avr", "gcc-riscv64-unknown-elf"} <= set(
        REQUIRED
    )


def test_apt_is_not_asked_if_nothing_is_missing(machine: Machine) -> None:
    result = machine.run("system-packages.sh")
    assert result.returncode == 0
    assert machine.calls("apt-get") == []


@pytest.mark.parametrize("server", ["rabbitmq-server", "prometheus"])
def test_no_server_of_the_whole_machine_is_started(
    machine: Machine, tmp_path: Path, server: str
) -> None:
    machine.fake("systemctl", NOTE)
    with_systemd = {"SYSTEMD_FOLDER": str(tmp_path)}
    result = machine.run("system-packages.sh", MISSING=server, **with_systemd)
    assert result.returncode == 0, result.stderr
    assert machine.calls("systemctl") == [f"systemctl mask --quiet {server}.service"]
    order = (machine.folder / "calls").read_text()
    assert order.index("systemctl mask") < order.index("install --yes")
    for missing, folder in (("simavr", tmp_path), (server, tmp_path / "none")):
        machine.run("system-packages.sh", MISSING=missing, SYSTEMD_FOLDER=str(folder))
        assert machine.calls("systemctl") == []


def test_root_installs_just_what_is_missing(machine: Machine) -> None:
    result = machine.run("system-packages.sh", MISSING="simavr gcc-avr")
    assert result.returncode == 0, result.stderr
    update, install = machine.calls("apt-get")
    assert update.endswith(" update")
    assert install.endswith("install --yes --no-install-recommends gcc-avr simavr")
    assert machine.calls("sudo") == []


def test_an_optional_package_comes_along_where_apt_has_it(machine: Machine) -> None:
    machine.fake("apt-cache", "exit 0")
    machine.run("system-packages.sh", MISSING="simavr qemu-system-riscv")
    assert machine.calls("apt-get")[-1].endswith("simavr qemu-system-riscv")
    assert machine.run("system-packages.sh", MISSING="qemu-system-riscv").returncode == 0
    assert machine.calls("apt-get") == []


def test_sudo_is_used_if_it_asks_nothing(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    machine.fake("sudo", NOTE + '[ "$1" = -n ] && shift\nexec "$@"')
    result = machine.run("system-packages.sh", MISSING="simavr")
    assert result.returncode == 0, result.stderr
    assert len(machine.calls("apt-get")) == 2
    assert all(call.startswith("sudo -n ") for call in machine.calls("sudo"))


def test_without_root_or_sudo_it_says_what_to_do(machine: Machine) -> None:
    machine.fake("id", "echo 1000")
    error = error_of(machine.run("system-packages.sh", MISSING="simavr"))
    assert "apt-get install simavr" in error
    assert machine.calls("apt-get") == []


def test_a_failing_apt_is_an_error_in_a_line(machine: Machine) -> None:
    machine.fake("apt-get", APT_GET + "exit 100")
    error = error_of(machine.run("system-packages.sh", MISSING="simavr"))
    assert "apt-get could not install: simavr" in error


def test_the_first_run_sets_up_and_the_second_does_nothing(machine: Machine) -> None:
    first = machine.run()
    assert first.returncode == 0, first.stderr
    installs = [call for call in machine.calls("python") if " pip install " in call]
    assert len(installs) == 3
    assert all("--constraint constraints.txt" in call for call in installs)
    extras = "tvm,tflm,quantize,farm,plot,examples,docs,deploy,dev"
    assert installs[1].endswith(f"--no-build-isolation --editable .[{extras}]")
    assert installs[2].endswith("--no-deps onnx2tf")
    second = machine.run()
    assert (second.returncode, second.stderr) == (0, "")
    assert not [call for call in machine.calls("python") if "-m " in call]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt", "scripts/setup.sh"])
def test_a_change_is_installed_into_the_same_environment(machine: Machine, name: str) -> None:
    machine.run()
    path = machine.project / name
    path.write_text(path.read_text() + "\n# changed\n")
    machine.run()
    assert not [call for call in machine.calls("python") if "-m venv" in call]
    assert [call for call in machine.calls("python") if "--editable" in call]


def test_a_moved_folder_gets_a_new_environment(machine: Machine) -> None:
    machine.run()
    machine.project = machine.project.rename(machine.folder / "moved")
    assert machine.run().returncode == 0
    assert [call for call in machine.calls("python") if "-m venv" in call]


def test_a_failed_install_is_tried_again(machine: Machine) -> None:
    assert "pip could not install" in error_of(machine.run(PIP_FAILS="1"))
    assert machine.run().returncode == 0
    assert [call for call in machine.calls("python") if "--editable" in call]


def test_an_old_python_is_an_error_in_a_line(machine: Machine) -> None:
    for name in ("python3.11", "python3.12", "python3.13"):
        machine.fake(name, "exit 1")
    error = error_of(machine.run(TOO_OLD="1"))
    assert "Python 3.11 or newer is needed" in error
    assert "3.11.99" in error


def test_a_chosen_python_that_is_too_old_is_named(machine: Machine) -> None:
    machine.fake("python3.9", "exit 1")
    assert "python3.9 is not" in error_of(machine.run(PYTHON="python3.9"))


def test_a_missing_venv_module_is_installed_or_named(machine: Machine) -> None:
    error = error_of(machine.run(NO_VENV="1", MISSING="python3-venv"))
    assert machine.calls("apt-get")[-1].endswith(" python3-venv")
    assert "ensurepip" in error
    assert "-venv" in error
