"""Compilers from outside that misbehave: each fault is named, none takes us with it."""

import json
import os
import stat
import textwrap
import time
from pathlib import Path

import pytest

from tests.contract.compilers.cases import task_of
from tinymlaas.contract.compiler import Estimate
from tinymlaas.contract.errors import CompilerCrashed, UnsupportedModel, UsageError
from workers.compilers import command
from workers.compilers.plugin import Output
from workers.compilers.registry import discover

GOOD = {
    "compiler": "bad",
    "version": "1",
    "entry": "tiny_run",
    "inputs": [],
    "outputs": [],
    "arena": {"size": 64},
    "sources": ["m.c"],
    "weight_bytes": 0,
}


def plugin(folder: Path, compile_body: str, describe: str | None = None) -> command.CommandCompiler:
    """Make a compiler called `bad` whose compile step is `compile_body` (Python)."""
    description = {"name": "bad", "version": "1", "cores": ["host"], "operators": []}
    code = f"""
import json, os, pathlib, sys, time
if sys.argv[1] == "describe":
    print({describe or json.dumps(description)!r})
elif sys.argv[1] == "supports":
    print("{{}}")
else:
    out = pathlib.Path(sys.argv[3])
    good = {GOOD!r}
{textwrap.indent(textwrap.dedent(compile_body), "    ")}
"""
    folder.mkdir()
    (folder / "p.py").write_text(code)
    (folder / "compiler.toml").write_text(
        'name = "bad"\nversion = "1"\ncommand = ["python3", "p.py"]\n'
    )
    return command.load(folder)


def compile_with(tmp_path: Path, body: str) -> Output:
    return plugin(tmp_path / "plugin", body).compile(*task_of(["Relu"]))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("sys.exit('no licence')", "status 1: no licence"),
        ("os.abort()", "status -6"),
        ("pass", "compiled.json was not written"),
        ("(out/'compiled.json').write_text('{')", "breaks the interface"),
        ("(out/'compiled.json').write_text(json.dumps(good))", "names m.c"),
        (
            "os.symlink('/etc/hostname', out/'m.c')\n"
            "(out/'compiled.json').write_text(json.dumps(good))",
            "bad: compile: m.c is a symbolic link",
        ),
        (
            "os.symlink('/etc', out/'d')\n"
            "(out/'compiled.json').write_text(json.dumps({**good, 'sources': ['d/hostname']}))",
            "bad: compile: d is a symbolic link",
        ),
        (
            "(out/'compiled.json').write_text(json.dumps({**good, 'sources': ['../m.c']}))",
            "sources",
        ),
        ("(out/'compiled.json').write_text(json.dumps({**good, 'version': '2'}))", "is of bad 2"),
        ("(out/'compiled.json').write_text(json.dumps({**good, 'sources': []}))", "neither"),
        ("os.mkfifo(out/'compiled.json')", "compile: compiled.json is no regular file"),
        ("(out/'a b.c').write_text('')", "bad: compile: a file is called 'a b.c'"),
        ("(out/('x'*150)).write_text('')", "is called 'xxx"),
        (
            "(out/'.h').write_text('')\n"
            "(out/'m.c').write_text('')\n"
            "(out/'compiled.json').write_text(json.dumps(good))",
            "odd name: '.h'",
        ),
        ("[(out/str(n)).write_text('') for n in range(20001)]", "more than 20,000 files"),
        ("sys.exit(3)", "unsupported.json was not written"),
    ],
)
def test_broken_compile_is_named(tmp_path: Path, body: str, reason: str) -> None:
    with pytest.raises(CompilerCrashed, match=reason):
        compile_with(tmp_path, body)


def test_unsupported_carries_its_reasons(tmp_path: Path) -> None:
    body = "(out/'unsupported.json').write_text(json.dumps({'reasons': ['no Foo']}))\nsys.exit(3)"
    with pytest.raises(UnsupportedModel, match="no Foo"):
        compile_with(tmp_path, body)


def test_a_hanging_compile_and_its_children_are_killed(tmp_path: Path) -> None:
    """The children would hold a file outside; nothing of a job outlives it to write there."""
    mark = f"tinymlaas-hanging-{os.getpid()}"
    body = f"""
    import subprocess
    if os.fork() == 0:
        os.setsid()
        subprocess.run([sys.executable, "-c", "import time; time.sleep(60)", {mark!r}])
    subprocess.run([sys.executable, "-c", "import time; time.sleep(60)", {mark!r}])
    """
    folder = tmp_path / "plugin"
    plugin(folder, body)
    config = command.CommandConfig(name="bad", version="1", command=("python3", "p.py"))
    compiler = command.CommandCompiler(folder, config, compile_seconds=2)
    with pytest.raises(CompilerCrashed, match="bad: compile took longer than 2 s"):
        compiler.compile(*task_of(["Relu"]))
    deadline = time.monotonic() + 10
    while _running(mark) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _running(mark)


def test_what_a_compiler_leaves_running_is_not_waited_for(tmp_path: Path) -> None:
    body = """
    if os.fork() == 0:
        time.sleep(1000)
    (out / "m.c").write_text("")
    (out / "compiled.json").write_text(json.dumps(good))
    """
    made = compile_with(tmp_path, body)
    assert set(made.files) == {"m.c", "compiled.json"}


def test_a_compiler_cannot_write_into_its_own_folder(tmp_path: Path) -> None:
    with pytest.raises(CompilerCrashed, match="Read-only file system"):
        compile_with(tmp_path, "open('left', 'w')")
    assert sorted(path.name for path in (tmp_path / "plugin").iterdir()) == [
        "compiler.toml",
        "p.py",
    ]


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    compiler = plugin(tmp_path / "plugin", "pass", describe="x" * (9 << 20))
    with pytest.raises(CompilerCrashed, match="describe is larger than 8 MiB"):
        compiler.describe()


def _running(mark: str) -> bool:
    """Return whether a process has `mark` among its arguments."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark.encode() in (process / "cmdline").read_bytes():
                return True
        except OSError:
            continue
    return False


def test_no_credentials_reach_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("TINYMLAAS_KEY", "secret")
    body = "sys.exit(' '.join(sorted(os.environ)))"
    with pytest.raises(CompilerCrashed) as caught:
        compile_with(tmp_path, body)
    assert "AWS" not in str(caught.value)
    assert "TINYMLAAS" not in str(caught.value)
    assert "PATH" in str(caught.value)


def test_a_folder_without_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"compiler\.toml"):
        discover([tmp_path])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("name = ", "not TOML"),
        ('name = "x"\nversion = "1"', "command"),
        ('name = "X!"\nversion = "1"\ncommand = ["a"]', "name"),
        ('name = "x"\nversion = "1"\ncommand = ["a"]\nextra = 1', "extra"),
    ],
)
def test_wrong_configuration_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "compiler.toml").write_text(text)
    with pytest.raises(UsageError, match=reason):
        discover([tmp_path])


def test_a_taken_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "compiler.toml").write_text('name = "tvm"\nversion = "1"\ncommand = ["a"]')
    with pytest.raises(UsageError, match="there already"):
        discover([tmp_path])


def test_a_compiler_that_cannot_describe_itself_is_listed_as_unavailable(tmp_path: Path) -> None:
    plugin(tmp_path / "plugin", "pass", describe="nonsense")
    registry = discover([tmp_path / "plugin"])
    assert "breaks the interface" in registry.unavailable["bad"]
    with pytest.raises(UsageError, match="cannot be used"):
        registry.get("bad")


def test_an_executable_of_the_folder_is_found(tmp_path: Path) -> None:
    script = tmp_path / "run"
    script.write_text('#!/bin/sh\necho \'{"name":"sh","version":"1","cores":[],"operators":[]}\'\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "compiler.toml").write_text('name = "sh"\nversion = "1"\ncommand = ["run"]')
    assert discover([tmp_path]).get("sh").describe().version == "1"
    assert os.access(script, os.X_OK)


def test_a_name_is_taken_even_by_one_that_cannot_be_used(tmp_path: Path) -> None:
    plugin(tmp_path / "one", "pass", describe="nonsense")
    plugin(tmp_path / "two", "pass")
    with pytest.raises(UsageError, match="there already"):
        discover([tmp_path / "one", tmp_path / "two"])


ESTIMATING = json.dumps(
    {"name": "bad", "version": "1", "cores": ["host"], "operators": [], "estimates": True}
)


def estimated(folder: Path, verb: str, describe: str | None = ESTIMATING) -> Estimate | None:
    """Ask a compiler that answers ``estimate`` with `verb` (Python)."""
    compiler = plugin(folder / "plugin", "pass", describe)
    script = folder / "plugin" / "p.py"
    script.write_text(
        f"{script.read_text()}\n".replace(
            'elif sys.argv[1] == "supports":',
            f'elif sys.argv[1] == "estimate":\n    {verb}\nelif sys.argv[1] == "supports":',
        )
    )
    return compiler.estimate(*task_of(["Relu"]))


def test_an_estimate_is_asked_of_who_makes_them(tmp_path: Path) -> None:
    told = 'print(json.dumps({"flash_bytes": len(sys.argv), "ram_bytes": 9}))'
    assert estimated(tmp_path, told) == Estimate(flash_bytes=3, ram_bytes=9)
    (tmp_path / "not").mkdir()
    assert estimated(tmp_path / "not", "sys.exit(1)", None) is None


@pytest.mark.parametrize(
    ("verb", "reason"),
    [
        ("sys.exit('no idea')", "estimate ended with status 1: no idea"),
        ("print('{}')", "estimate breaks the interface: flash_bytes"),
        ('print(json.dumps({"flash_bytes": -1, "ram_bytes": 9}))', "breaks the interface"),
        ("pass", "breaks the interface"),
    ],
)
def test_a_broken_estimate_is_named(tmp_path: Path, verb: str, reason: str) -> None:
    with pytest.raises(CompilerCrashed, match=reason):
        estimated(tmp_path, verb)
