"""Keys from the command line: a farm's keeper rotates and revokes, somebody else verifies."""

from __future__ import annotations

import json
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from storage.key_folder import signing_key
from storage.provenance import Builder, pool_builder, sign_module
from tests.unit.storage import modules
from tinymlaas.cli import app
from tinymlaas.contract.errors import TinymlaasError

TVM = pool_builder("tvm")


@dataclass(frozen=True)
class Ran:
    out: str
    err: str
    refused: str  # the reasons of what was raised

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """The command line within this process, of a user with a home of their own."""

    home: Path

    def __call__(self, *arguments: str | Path) -> Ran:
        environment = {"HOME": str(self.home), "COLUMNS": "120"}
        environment |= dict.fromkeys(("TINYMLAAS_KEYS", "TINYMLAAS_KEYRING"), "")
        environment |= {"XDG_CONFIG_HOME": "", "XDG_CACHE_HOME": str(self.home / "cache")}
        ran = CliRunner().invoke(app, [*map(str, arguments)], env=environment)
        error = ran.exception
        if error is not None and not isinstance(error, TinymlaasError):
            raise error
        return Ran(ran.stdout, ran.stderr, str(error or ""))


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "home")


@pytest.fixture
def other(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "other")


def _keys(cli: Cli) -> Path:
    return cli.home / ".config" / "tinymlaas"


def _signed(cli: Cli, path: Path, builder: str = TVM) -> Path:
    """A module at `path`, signed as the pool's signer does with the key it has now."""
    archive = modules.archive()
    signer = signing_key(_keys(cli), builder).signer
    path.write_bytes(archive)
    envelope = sign_module(
        archive, modules.asked(), signer, Builder(id=builder), sandbox="bubblewrap"
    )
    path.with_name(path.name + ".intoto.jsonl").write_bytes(envelope)
    return path


def test_rotation_and_revocation_as_another_sees_them(cli: Cli, other: Cli, tmp_path: Path) -> None:
    assert "there are no keys yet" in cli("keys", "list").out
    made = cli("keys", "new", "--builder", "tvm")
    assert not made.refused
    ring = _keys(cli) / "keyring.json"
    first = ring.read_bytes()
    old = _signed(cli, tmp_path / "old.zip")
    seen = other("verify", old, "--keyring", ring)
    assert not seen.refused
    assert "is new here: compare its root" in seen.err
    turned = cli("keys", "rotate", "--builder", "tvm", "--overlap", "30d", "--json").json
    assert [row["status"] for row in turned["keys"]] == ["retiring", "active"]
    assert "29 days left" in turned["keys"][0]["standing"]
    new = _signed(cli, tmp_path / "new.zip")
    for module in (old, new):
        ran = other("verify", module, "--keyring", ring, "--root", turned["root"], "--json")
        assert not ran.refused
        assert ran.json["builder"] == TVM
        assert ran.json["remarks"] == []
    fingerprint = turned["keys"][0]["fingerprint"]
    gone = cli("keys", "revoke", fingerprint[:12], "--reason", "laptop lost")
    assert "revoked" in gone.out
    assert "laptop lost" in gone.out
    refused = other("verify", old, "--keyring", ring)
    assert "was revoked" in refused.refused
    (tmp_path / "first.json").write_bytes(first)
    back = other("verify", old, "--keyring", tmp_path / "first.json")
    assert "version 1, and version 3 was seen before" in back.refused
    for path in _keys(cli).glob("*.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_signers_meet_a_threshold(cli: Cli, other: Cli, tmp_path: Path) -> None:
    """Two farms built the same; the second's key is made there, and named here."""
    mine = _signed(cli, tmp_path / "m.zip")
    theirs = _signed(other, tmp_path / "theirs.zip")
    lines = [path.with_name(f"{path.name}.intoto.jsonl") for path in (mine, theirs)]
    named = cli("keys", "add", _keys(other) / "builder-tvm.pub", "--builder", "tvm")
    assert "may sign for" in named.out
    assert not cli("keys", "threshold", "2").refused
    assert "1 of the 2 distinct keys" in cli("verify", mine).refused
    lines[0].write_bytes(b"\n".join(line.read_bytes() for line in lines))
    found = cli("verify", mine, "--json").json
    assert len(set(found["signers"])) == 2
    assert "asks for 2" in cli("verify", mine, "--threshold", "1").refused
    bundles = cli("bundle", mine).out.split()
    assert len(bundles) == 2


def test_a_bundle_is_written_and_read_back(cli: Cli, other: Cli, tmp_path: Path) -> None:
    module = _signed(cli, tmp_path / "m.zip")
    public = _keys(cli) / "builder-tvm.pub"
    wrong = other("bundle", module, "--key", public)
    assert "for which its signer is not trusted" in wrong.refused
    assert not list(tmp_path.glob("*.sigstore.json"))
    named = ("--key", public, "--builder", "tvm")
    done = other("bundle", module, *named)
    assert not done.refused
    bundle = tmp_path / "m.zip.sigstore.json"
    assert done.out.split() == [str(bundle)]
    module.with_name("m.zip.intoto.jsonl").unlink()
    ran = other("verify", module, *named, "--bundle", bundle, "--require-sandbox", "--json")
    assert not ran.refused
    value = json.loads(bundle.read_bytes())
    value["verificationMaterial"]["publicKey"]["hint"] = "x"
    bundle.write_text(json.dumps(value))
    edited = other("verify", module, *named, "--bundle", bundle)
    assert "the bundle was edited" in edited.refused


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--threshold", "2"], "1 of the 2 distinct keys"),
        (["--key", "x", "--keyring", "y"], "not both"),
        (["--builder", "tvm"], "--builder goes with --key"),
        (["--root", "0" * 64], "--root goes with --keyring"),
        (["--keyring", "nowhere"], "there is no file nowhere"),
    ],
)
def test_demands_that_cannot_be_met(
    cli: Cli, tmp_path: Path, arguments: list[str], reason: str
) -> None:
    module = _signed(cli, tmp_path / "m.zip", "urn:tinymlaas:builder:local:v1")
    ran = cli("verify", module, *arguments)
    assert reason in ran.refused
