import importlib.util
import io
import zipfile

import pytest

from tinymlaas.contract.errors import InvalidModel, UsageError
from tinymlaas.contract.quantisation import FloatFormat
from workers.quantise import libraries
from workers.quantise.from_keras import check
from workers.quantise.stage import format_of


def archive(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as made:
        for name, content in members.items():
            made.writestr(name, content)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89HDF\r\n\x1a\n" + bytes(64), "HDF5 of Keras 2"),
        (archive(**{"data.pkl": b""}), "no .keras model"),
        (b"PK\x03\x04" + bytes(64), "damaged .keras file"),
        (
            archive(**{"metadata.json": "{}", "config.json": "{", "model.weights.h5": ""}),
            "damaged .keras file",
        ),
    ],
)
def test_what_is_no_keras_file_is_refused_before_keras_sees_it(data, reason):
    assert format_of(data, "m") is FloatFormat.KERAS
    with pytest.raises(InvalidModel) as error:
        check(data, "m.keras")
    assert reason in error.value.reasons[0]


def test_a_file_of_no_known_format_is_refused():
    with pytest.raises(InvalidModel):
        format_of(b"not a model at all", "m.onnx")


@pytest.mark.parametrize("source", list(FloatFormat))
def test_a_missing_library_is_named_with_the_extra_that_installs_it(source, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"tensorflow.*pip install 'tinymlaas\[quantize\]'"):
        libraries.require(source)
