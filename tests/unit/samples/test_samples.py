import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tinymlaas import cli_jobs
from tinymlaas.contract.errors import UsageError
from tinymlaas.contract.tensors import DType, Quantization, TensorSpec
from workers.samples import accuracy, load_samples

SPEC = TensorSpec(name="image", shape=(1, 2, 2), dtype=DType.FLOAT32)


def npz(**arrays: object) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def test_arrays_by_name_or_x_in_the_shape_of_the_input() -> None:
    images = np.arange(12, dtype=np.uint8).reshape(3, 4)
    for name in ("image", "x"):
        loaded = load_samples(npz(**{name: images, "labels": [1, 2, 3]}), "d.npz", [SPEC], 2)
        assert [sample[0].shape for sample in loaded.samples] == [(1, 2, 2)] * 2
        assert loaded.samples[1][0].dtype == np.float32
        assert loaded.samples[1][0].ravel().tolist() == [4, 5, 6, 7]
        assert loaded.labels is not None
        assert loaded.labels.tolist() == [1, 2]


def damaged() -> bytes:
    data = bytearray(npz(x=np.random.default_rng(0).standard_normal((50, 4))))
    data[200] ^= 0xFF
    return bytes(data)


def encrypted() -> bytes:
    data = bytearray(npz(x=np.zeros((1, 4))))
    data[6] |= 1  # bit 0 of the flags, in the header and in the directory
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def no_array() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00\xff\xff{")
    return file.getvalue()


def bytes_only() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", b"hello")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "cannot be read as .npz"),
        (b"PK\x03\x04", "cannot be read as .npz"),
        (damaged(), "cannot be read as .npz"),
        (encrypted(), "cannot be read as .npz"),
        (no_array(), "cannot be read as .npz"),
        (bytes_only(), "its member 'x' is no array"),
        (npz(x=np.array([{}], dtype=object)), "cannot be read as .npz"),
        (npz(y=np.zeros((1, 4))), "has no array 'image' .it has y"),
        (npz(x=np.zeros((1, 5), np.float32)), r"has shape \(5,\), the input 1×2×2"),
        (npz(x=np.float32(1)), "has shape"),
        (npz(x=np.zeros((0, 4), np.float32)), "has shape|no samples"),
        (npz(x=np.zeros((1, 4), np.complex64)), "is complex64, the input is float32"),
        (npz(x=np.zeros((2, 4)), labels=[1]), r"different numbers of samples: \[1, 2\]"),
        (npz(x=np.zeros((1, 4)), labels=3), "labels' must hold one integer a sample"),
        (npz(x=np.zeros((1, 4)), labels=[[0, 1]]), "labels' must hold one integer a sample"),
        (npz(x=np.zeros((1, 4)), labels=["cat"]), "labels' must hold one integer a sample"),
        (npz(x=np.zeros((1, 4)), labels=[np.nan]), "labels' must hold one integer a sample"),
    ],
)
def test_what_cannot_be_used_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        load_samples(data, "d.npz", [SPEC])


INT8 = SPEC.model_copy(
    update={"dtype": DType.INT8, "quantization": Quantization(scale=0.5, zero_point=3)}
)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("spec", [SPEC, INT8], ids=["float32", "int8"])
@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_what_is_no_number_is_no_sample(number: float, spec: TensorSpec) -> None:
    values = np.zeros((3, 4), np.float32)
    values[1, 2] = number
    with pytest.raises(UsageError, match="sample 1 of 'image' holds NaN or infinity"):
        load_samples(npz(x=values), "d.npz", [spec])


@pytest.mark.filterwarnings("error")
def test_numbers_beyond_the_input_s_type_are_refused_or_saturate() -> None:
    large = npz(x=np.full((1, 4), 1e300))
    with pytest.raises(UsageError, match="or a number beyond float32"):
        load_samples(large, "d.npz", [SPEC])
    fine = INT8.model_copy(update={"quantization": Quantization(scale=1e-20, zero_point=0)})
    ((stored,),) = load_samples(large, "d.npz", [fine]).samples
    assert stored.ravel().tolist() == [127] * 4


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (bytes_only(), "its member 'x' is no array"),
        (b"", "cannot be read as .npz"),
        (npz(x=np.zeros((1, 4))), "has no array 'labels'"),
        (npz(x=np.zeros((1, 4)), labels=[0.5]), "one integer a sample"),
    ],
)
def test_a_farm_is_sent_no_samples_that_fit_no_model(
    data: bytes, reason: str, tmp_path: Path
) -> None:
    file = tmp_path / "d.npz"
    file.write_bytes(data)
    with pytest.raises(UsageError, match=f"^d.npz: .*{reason}"):
        cli_jobs.submit(file, "host", data=file)


def test_accuracy() -> None:
    outputs = [np.array([[0.1, 0.9]]), np.array([[0.8, 0.2]]), np.array([[0.3, 0.7]])]
    assert accuracy(outputs, np.array([1, 0, 0])) == pytest.approx(2 / 3)
    assert accuracy(outputs, None) is None
