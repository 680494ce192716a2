import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Where firmware objects are kept for the whole session, as a worker keeps them."""
    return tmp_path_factory.mktemp("toolchain-cache")


@pytest.fixture
def own_tmp(tmp_path, monkeypatch):
    """A folder that all temporary files of the code under test go to."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder
