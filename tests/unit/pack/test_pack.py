from __future__ import annotations

import os
from pathlib import Path

import pytest

from storage.archive import read_archive
from storage.signing import LocalSigner
from tests.unit.storage import modules, processes
from tinymlaas.contract.errors import Failure
from workers.pack import pack, write_new

_PACK = """
from tests.unit.storage import modules
from storage.signing import load_signer
import sys
archive = modules.archive()
signer = load_signer(sys.stdin.buffer.read())
sys.stdout.write(archive.hex() + " " + modules.envelope(archive, signer).hex())
"""


def test_same_inputs_same_bytes_in_any_process(tmp_path: Path) -> None:
    """Hash seed, folder, locale, time zone and umask have no say; nor has the clock."""
    signer = LocalSigner.generate()
    (tmp_path / "key").write_bytes(signer.private_pem())
    expected = modules.archive()
    for seed, zone, language in (("0", "UTC", "C"), ("4711", "Asia/Kolkata", "C.UTF-8")):
        folder = tmp_path / seed
        folder.mkdir()
        before = Path.cwd()
        os.chdir(folder)
        try:
            process = processes.start(_PACK, PYTHONHASHSEED=seed, TZ=zone, LC_ALL=language)
        finally:
            os.chdir(before)
        said, _ = process.communicate((tmp_path / "key").read_text(), timeout=60)
        archive, envelope = said.split()
        assert bytes.fromhex(archive) == expected
        assert bytes.fromhex(envelope) == modules.envelope(expected, signer)


def test_the_order_of_members_does_not_matter() -> None:
    turned = dict(reversed(modules.MEMBERS.items()))
    assert pack(modules.manifest(), turned) == modules.archive()


def test_the_list_of_files_is_ours() -> None:
    listed = read_archive(modules.archive()).manifest
    assert pack(listed, modules.MEMBERS) == modules.archive()


@pytest.mark.parametrize(
    "path", ["README", "doc/readme.txt", "manifest.json", "/include/x.h", "src"]
)
def test_members_outside_the_layout_are_refused(path: str) -> None:
    with pytest.raises(Failure, match="cannot pack"):
        pack(modules.manifest(), {**modules.MEMBERS, path: b""})


@pytest.mark.parametrize("path", ["src/../../x", "src/.x", "src//x", "src/x\n", "src/"])
def test_odd_paths_are_refused(path: str) -> None:
    with pytest.raises(Failure, match="plain relative path"):
        pack(modules.manifest(), {**modules.MEMBERS, path: b""})


@pytest.mark.parametrize("path", ["include/net.h", "lib/libnet.a"])
def test_header_and_library_must_be_there(path: str) -> None:
    members = {name: data for name, data in modules.MEMBERS.items() if name != path}
    with pytest.raises(Failure, match=path):
        pack(modules.manifest(), members)


def test_every_member_is_written_and_nothing_else(tmp_path: Path) -> None:
    write_new(read_archive(modules.archive()).members, tmp_path / "new")
    files = [path for path in (tmp_path / "new").rglob("*") if path.is_file()]
    found = {path.relative_to(tmp_path / "new").as_posix(): path.read_bytes() for path in files}
    assert found == modules.MEMBERS


def test_no_folder_in_use_is_touched(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(Failure, match="not empty"):
        write_new(modules.MEMBERS, tmp_path)
    with pytest.raises(Failure, match="cannot write into"):
        write_new(modules.MEMBERS, tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
