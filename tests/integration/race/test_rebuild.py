"""Built again from its provenance a module is the same, or what has changed is said."""

import shutil
from pathlib import Path

import pytest

from storage.archive import read_archive, write_archive
from tests.integration.cli.runner import Cli
from tests.integration.race.services import dense, planted, relu
from tinymlaas.rebuilding import differences

TVM = ("--compiler", "tvm")  # the choice is no matter here


def compiled(cli: Cli, model: Path, out: Path, *arguments: str, **more: str) -> Path:
    ran = cli("compile", model, "--board", "host", "-o", out, "--json", *arguments, **more)
    assert ran.status == 0, ran.err
    return Path(ran.json["module"])


def test_identical_though_nothing_but_the_model_is_taken_from_the_store(
    cli: Cli, tmp_path: Path
) -> None:
    module = compiled(cli, dense(tmp_path), tmp_path / "out", *TVM, "--objective", "flash")
    shutil.rmtree(cli.home / "store" / "actions")
    shutil.rmtree(cli.home / "store" / "modules")
    ran = cli("rebuild", module, "--json")
    assert ran.status == 0, ran.err
    assert ran.json["identical"]
    assert ran.json["before"] == ran.json["now"] == read_archive(module.read_bytes()).digest
    assert not (cli.home / "store" / "actions").exists()  # it was built aside
    shutil.rmtree(cli.home / "store")
    gone = cli("rebuild", module)
    assert (gone.status, len(gone.lines)) == (2, 1)
    assert "give --model FILE" in gone.lines[0]
    wrong = cli("rebuild", module, "--model", relu(tmp_path))
    assert wrong.status == 2
    assert "another model" in wrong.lines[0]


@pytest.mark.slow
def test_another_compiler_and_its_bytes_are_told(cli: Cli, tmp_path: Path) -> None:
    plugin = planted(tmp_path, "mine", "{0} > 0.0f ? {0} : 0.0f")
    found = {"TINYMLAAS_COMPILERS": str(plugin)}
    model = relu(tmp_path)
    module = compiled(cli, model, tmp_path / "out", "--compiler", "mine", **found)
    given = cli("rebuild", module, "--model", model, TINYMLAAS_STORE=str(tmp_path / "no"), **found)
    told = f"identical: {module.name} comes out again byte for byte\n"
    assert (given.status, given.out) == (0, told)
    for file in plugin.glob("*.*"):
        text = file.read_text().replace('"1.0"', '"1.1"')
        file.write_text(text.replace("{0} > 0.0f ?", "{0} >= 0.0f ?"))
    ran = cli("rebuild", module, **found)
    assert ran.status == 1
    what = {line.partition(":")[0].strip() for line in ran.out.splitlines()}
    assert what > {"compiler version", "src/model.c", "lib/librelu.a"}
    assert "  compiler version: was 1.0, is 1.1\n" in ran.out
    missing = cli("rebuild", module)
    assert missing.status == 2
    assert "no compiler is called 'mine'" in missing.lines[0]


def test_what_differs_in_an_archive_is_named(cli: Cli, tmp_path: Path) -> None:
    archive = read_archive(compiled(cli, dense(tmp_path), tmp_path, *TVM).read_bytes())
    assert differences(archive, archive) == []
    path, *_ = archive.members
    members = {k: v for k, v in archive.members.items() if k != path} | {"new": b"1"}
    used = archive.manifest.compiler.model_copy(update={"cflags": ("-O3",)})
    manifest = archive.manifest.model_copy(update={"compiler": used})
    other = read_archive(write_archive(manifest, members))
    told = {each.what: each for each in differences(archive, other)}
    assert told["compiler cflags"].now == "-O3"
    assert told[path].now == "absent"
    assert told["new"].before == "absent"
    renamed = archive.manifest.model_copy(update={"action_digest": "f" * 64})
    (only,) = differences(archive, read_archive(write_archive(renamed, dict(archive.members))))
    assert "another version; all files are the same" in only.what
    footprint = archive.manifest.footprint.model_copy(update={"flash_bytes": 1})
    larger = read_archive(
        write_archive(
            archive.manifest.model_copy(update={"action_digest": "f" * 64, "footprint": footprint}),
            dict(archive.members),
        )
    )
    action, size = differences(archive, larger)
    assert (action.now, size.what, size.now) == ("f" * 64, "footprint flash_bytes", "1")
