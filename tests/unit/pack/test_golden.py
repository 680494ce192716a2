from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinymlaas.contract.errors import Failure, VerificationError
from tinymlaas.contract.tensors import DType, TensorSpec
from workers.golden import GOLDEN_INDEX, Golden, decode_golden, encode_golden

SHAPES: list[tuple[int, ...]] = [(), (1,), (2, 3), (1, 4, 0, 2), (2, 1, 3, 2)]


def _spec(name: str, dtype: DType, shape: tuple[int, ...]) -> TensorSpec:
    return TensorSpec(name=name, shape=shape, dtype=dtype)


def _same(left: np.ndarray, right: np.ndarray) -> bool:
    return (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes())


@pytest.mark.parametrize("dtype", list(DType))
@pytest.mark.parametrize("shape", SHAPES)
def test_round_trip(dtype: DType, shape: tuple[int, ...]) -> None:
    source = np.random.default_rng(1)
    numbers = source.integers(0, 2 if dtype == DType.BOOL else 100, (3, *shape))
    array = numbers.astype(dtype.value)
    golden = Golden((array,), (array[:, ...],))
    spec = _spec("t", dtype, shape)
    members = encode_golden(golden, [spec], [spec])
    assert sorted(members) == [GOLDEN_INDEX, "verify/input_0.bin", "verify/output_0.bin"]
    assert len(members["verify/input_0.bin"]) == 3 * spec.nbytes
    back = decode_golden(members)
    assert back.samples == 3
    assert _same(back.inputs[0], array)
    assert _same(back.outputs[0], array)
    assert back.inputs[0].flags.writeable


def test_elements_are_little_endian_and_row_major() -> None:
    array = np.array([[[1, 2, 3], [4, 5, 6]]], dtype=np.int16)
    spec = _spec("t", DType.INT16, (2, 3))
    expected = bytes([1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0])
    for given_array in (array, np.asfortranarray(array)):
        members = encode_golden(Golden((given_array,), ()), [spec], [])
        assert members["verify/input_0.bin"] == expected


def test_special_numbers_keep_their_bits() -> None:
    array = np.array([[np.nan, -0.0, np.inf, 1e-45]], dtype=np.float32)
    spec = _spec("t", DType.FLOAT32, (4,))
    assert _same(decode_golden(encode_golden(Golden((array,), ()), [spec], [])).inputs[0], array)


FLOAT = _spec("x", DType.FLOAT32, (2,))


@pytest.mark.parametrize(
    ("golden", "reason"),
    [
        (Golden((), ()), "0 golden inputs for a module of 1"),
        (Golden((np.zeros((1, 3), np.float32),), ()), r"not float32 \(1, 2\)"),
        (Golden((np.zeros((1, 2), np.float64),), ()), "float64"),
        (Golden((np.zeros((1, 2), np.float32),), (np.zeros((1, 1)),)), "1 golden outputs"),
    ],
)
def test_arrays_must_be_what_the_specs_say(golden: Golden, reason: str) -> None:
    with pytest.raises(Failure, match=reason):
        encode_golden(golden, [FLOAT], [])


def test_every_tensor_has_as_many_samples() -> None:
    golden = Golden((np.zeros((2, 2), np.float32),), (np.zeros((3, 2), np.float32),))
    with pytest.raises(Failure, match="golden tensor 'x'"):
        encode_golden(golden, [FLOAT], [FLOAT])


MEMBERS = encode_golden(Golden((np.ones((2, 2), np.float32),), ()), [FLOAT], [])


def _index(**changes: object) -> dict[str, bytes]:
    value = json.loads(MEMBERS[GOLDEN_INDEX])
    for name, new in changes.items():
        (value if name in value else value["inputs"][0])[name] = new
    return {**MEMBERS, GOLDEN_INDEX: json.dumps(value).encode()}


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({}, "no verify/golden.json"),
        (_index(format=2), "malformed"),
        (_index(samples=-1), "malformed"),
        (_index(samples=3), "16 bytes, not 24"),
        (_index(shape=[3]), "16 bytes, not 24"),
        (_index(shape=[-2]), "malformed"),
        (_index(dtype="object"), "malformed"),
        (_index(file="../x"), "lacks the golden file"),
        (_index(shape=[0] * 70, file="empty") | {"empty": b""}, "malformed"),
        (_index(shape=[0, 10**30], file="empty") | {"empty": b""}, "malformed"),
        ({GOLDEN_INDEX: b"[" * 100_000}, "malformed"),
    ],
)
def test_damaged_vectors_are_refused(members: dict[str, bytes], reason: str) -> None:
    with pytest.raises(VerificationError, match=reason):
        decode_golden(members)


@settings(derandomize=True, database=None, deadline=None, max_examples=300)
@given(
    samples=st.integers() | st.none(),
    shape=st.lists(st.integers(min_value=-3), max_size=80),
    dtype=st.sampled_from([*DType, "x"]),
    data=st.binary(max_size=40),
)
def test_fuzz_index(samples: object, shape: list[int], dtype: str, data: bytes) -> None:
    members = _index(samples=samples, shape=shape, dtype=dtype) | {"verify/input_0.bin": data}
    try:
        golden = decode_golden(members)
    except VerificationError:
        return
    assert golden.inputs[0].nbytes == len(data)
