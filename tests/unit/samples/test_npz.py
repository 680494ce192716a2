"""An npz says what it holds; nothing of that is believed before it is checked."""

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from tinymlaas.contract.errors import UsageError
from workers.npz import LIMITS, Npz
from workers.zips import ZipLimits


def packed(**members: bytes) -> bytes:
    return archive({f"{name}.npy": content for name, content in members.items()})


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as made:
        for name, content in members.items():
            made.writestr(name, content)
    return file.getvalue()


def npy(array: object, **options: bool) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), **options)
    return file.getvalue()


def header(text: str, content: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    raw = text.encode("latin-1")
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(raw))
    return b"\x93NUMPY" + version + length + raw + content


def reason(data: bytes, limits: ZipLimits = LIMITS) -> str:
    with pytest.raises(UsageError) as caught:
        Npz(data, "s.npz", limits).get("x")
    (only,) = caught.value.reasons
    assert only.startswith("s.npz: ")
    assert only.isprintable()
    return only


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
@pytest.mark.parametrize(
    "array",
    [
        np.arange(24, dtype=np.float32).reshape(2, 3, 4),
        np.asfortranarray(np.arange(24, dtype=np.int16).reshape(4, 6)),
        np.arange(5, dtype=">i4"),
        np.float64(3.5),
        np.zeros((0, 7), np.uint8),
        np.array([True, False]),
        np.array(["a", "bc"]),
        np.zeros(1, np.complex64),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_what_numpy_writes_is_read_as_numpy_reads_it(write, array):
    file = io.BytesIO()
    write(file, x=array, y=np.ones(2))
    read = Npz(file.getvalue(), "s.npz")
    assert read.names == ("x", "y")
    got = read.get("x")
    with np.load(io.BytesIO(file.getvalue()), allow_pickle=False) as loaded:
        wanted = loaded["x"]
    np.testing.assert_array_equal(got, wanted.astype(wanted.dtype.newbyteorder("=")), strict=True)
    assert read.get("z") is None


def test_names_of_tensors_are_no_paths():
    name = "serving_default_in:0/é x"
    assert Npz(archive({f"{name}.npy": npy([1.0])}), "s.npz").names == (name,)


@pytest.mark.parametrize("version", [b"\x02\x00", b"\x03\x00"])
def test_later_versions_of_the_format(version):
    text = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }"
    data = packed(x=header(text, np.ones(2, "f4").tobytes(), version))
    np.testing.assert_array_equal(Npz(data, "s.npz").get("x"), np.ones(2, "f4"), strict=True)


@pytest.mark.parametrize("name", ["/x.npy", "../x.npy", "a/../x.npy", "..\\x.npy", "\\x.npy"])
def test_paths_that_lead_out(name):
    assert "leads out of the archive" in reason(archive({name: npy([1.0])}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (npy(np.array([{}], object), allow_pickle=True), "pickled Python objects"),
        (npy(np.zeros(2, [("a", "f4")])), "a header that numpy.savez does not write"),
        (header("__import__('os').system('true')"), "a header that numpy.savez does not write"),
        (header("(" * 3000), "a header that numpy.savez does not write"),
        (header("{" * 5000), "a header of 5000 bytes"),
        (npy(np.ones(4))[:-1], "needs 32 bytes but has 31"),
        (npy(np.ones(4)) + b"!", "needs 32 bytes but has 33"),
        (b"\x93NUMPY\x09\x00", "not in NumPy's format"),
        (b"\x93NUMPY\x02\x00\x01", "is cut off"),
        (b"", "not in NumPy's format"),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (999999999999,), }"),
            "needs 3999999999996 bytes but has 0",
        ),
        (
            header("{'descr': '<f3', 'fortran_order': False, 'shape': (1,), }", b"123"),
            "elements of type '<f3'",
        ),
        (npy(np.zeros((1,) * 17)), "17 dimensions"),
    ],
)
def test_arrays_that_are_none(content, words):
    assert words in reason(packed(x=content))


def test_a_bomb_is_refused_from_its_directory():
    """64 MiB of zeros in 64 kB; ten times the same member would be more than is taken."""
    bomb = packed(x=npy(np.zeros(1 << 23)))
    tracemalloc.start()
    assert "unpacks to more than 63 MiB" in reason(bomb, ZipLimits(unpacked_bytes=63 << 20))
    assert "declares" in reason(bomb, ZipLimits(ratio=100))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_directory_that_lies_about_sizes():
    data = bytearray(packed(x=npy(np.zeros(1000))))
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<L", data, entry + 24, 700)  # uncompressed size: less than it unpacks to
    assert "Bad CRC-32" in reason(bytes(data))


def test_too_many_members():
    many = archive({f"a{i}.npy": b"" for i in range(300)})
    assert "more than 256 members" in reason(many)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_twice():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("x.npy", npy([1.0]))
        made.writestr("x.npy", npy([2.0]))
    assert "member 'x.npy' twice" in reason(file.getvalue())


def test_other_packings():
    assert "in a way that is not read" in reason(archive({"x.npy": npy([1.0])}, zipfile.ZIP_LZMA))


def test_a_link():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        info = zipfile.ZipInfo("x.npy")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        made.writestr(info, "/etc/passwd")
    assert "no plain file" in reason(file.getvalue())


def test_an_array_that_is_not_wanted_is_not_read():
    data = packed(x=npy([1.0]), other=npy(np.array([{}], object), allow_pickle=True))
    assert Npz(data, "s.npz").get("x") is not None
