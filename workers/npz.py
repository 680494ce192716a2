"""An ``.npz`` file read without trust: what it declares is checked before anything is allocated.

A ZIP file (`workers.zips`) of ``.npy`` files (numpy.lib.format, versions 1.0 to 3.0), as
``numpy.savez`` and ``savez_compressed`` write them. Headers of arrays are matched against the one
form numpy writes and never evaluated; an array is read only when it is asked for, and never as a
pickle.
"""

from __future__ import annotations

import re
import struct
import zipfile
from math import prod
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tinymlaas.contract.errors import UsageError, one_line
from workers.zips import BadZip, ZipLimits, open_zip, shown

Array = NDArray[Any]

_SUFFIX = ".npy"
_MAGIC = b"\x93NUMPY"
_LONGEST_HEADER = 4096
_HEADER = re.compile(
    r"\{'descr': '(?P<descr>[<>|=]?[?a-zA-Z][0-9]{0,4})', "
    r"'fortran_order': (?P<fortran>True|False), "
    r"'shape': \((?P<shape>(?:[0-9]{1,15},(?: [0-9]{1,15}(?:, [0-9]{1,15})*)?)?)\), ?\} *\n?"
)


LIMITS = ZipLimits()
_MOST_DIMENSIONS = 16


class Npz:
    """An opened file; `names` are those of its arrays."""

    def __init__(self, data: bytes, name: str, limits: ZipLimits = LIMITS) -> None:
        """Check the archive `data`; `name` is used in reasons only.

        Raises:
            UsageError: it is no ZIP file of arrays, or is beyond `limits`.
        """
        self._name = name
        self._archive = self._opened(data, limits)
        self._members = {
            info.filename.removesuffix(_SUFFIX): info for info in self._archive.infolist()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the arrays, as they stand in the file."""
        return tuple(self._members)

    def get(self, name: str) -> Array | None:
        """Return the array `name`, None if there is none.

        Raises:
            UsageError: it is damaged, or holds anything but numbers.
        """
        info = self._members.get(name)
        if info is None:
            return None
        try:
            with self._archive.open(info) as file:
                return self._array(file, info)
        except UsageError:
            raise
        except Exception as error:  # whatever zlib and zipfile trip over is the file's fault
            raise self._unreadable(
                f"array {shown(name)}: {error or type(error).__name__}"
            ) from None

    def _opened(self, data: bytes, limits: ZipLimits) -> zipfile.ZipFile:
        try:
            archive = open_zip(data, limits)
        except BadZip as error:
            raise self._unreadable(str(error)) from None
        for info in archive.infolist():
            if not info.filename.endswith(_SUFFIX):
                raise UsageError(
                    f"{self._name}: its member {shown(info.filename)} is no array as numpy.savez "
                    "writes them"
                )
        return archive

    def _array(self, file: IO[bytes], info: zipfile.ZipInfo) -> Array:
        what = f"array {shown(info.filename)}"
        start = file.read(len(_MAGIC) + 2)
        if start[: len(_MAGIC)] != _MAGIC or start[len(_MAGIC) :] not in (
            b"\1\0",
            b"\2\0",
            b"\3\0",
        ):
            raise self._unreadable(f"{what} is not in NumPy's format")
        wide = start[len(_MAGIC)] > 1
        prefix = file.read(4 if wide else 2)
        if len(prefix) < (4 if wide else 2):
            raise self._unreadable(f"{what} is cut off")
        length = struct.unpack("<I" if wide else "<H", prefix)[0]
        if length > _LONGEST_HEADER:
            raise self._unreadable(f"{what} has a header of {length} bytes")
        header = _HEADER.fullmatch(file.read(length).decode("latin-1"))
        if header is None:
            raise self._unreadable(f"{what} has a header that numpy.savez does not write")
        dtype = self._dtype(what, header["descr"])
        shape = tuple(int(dim) for dim in header["shape"].split(",") if dim.strip())
        if len(shape) > _MOST_DIMENSIONS:
            raise self._unreadable(f"{what} has {len(shape)} dimensions")
        wanted = prod(shape) * dtype.itemsize
        there = info.file_size - len(start) - len(prefix) - length
        if wanted != there:
            raise self._unreadable(f"{what} of shape {shape} needs {wanted} bytes but has {there}")
        content = file.read(wanted + 1)  # one more: at its end zipfile compares the CRC
        if len(content) != wanted:
            raise self._unreadable(f"{what} has {len(content)} bytes, not {wanted}")
        array = np.frombuffer(content, dtype).reshape(
            shape, order="F" if header["fortran"] == "True" else "C"
        )
        return array.astype(dtype.newbyteorder("="), copy=False)

    def _dtype(self, what: str, descr: str) -> np.dtype[Any]:
        kind = descr.lstrip("<>|=")[0]
        if kind == "O":
            raise self._unreadable(f"{what} holds pickled Python objects, which are not read")
        try:
            return np.dtype(descr)
        except TypeError:
            raise self._unreadable(f"{what} has elements of type {descr!a}") from None

    def _unreadable(self, why: str) -> UsageError:
        return UsageError(f"{self._name}: cannot be read as .npz: {one_line(why)[:300]}")
