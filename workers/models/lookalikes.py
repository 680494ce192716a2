"""What a file that is no model looks like, by its first bytes, and what to do about it."""

from __future__ import annotations

_PREFIXES: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"%PDF", "a PDF document"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras?): convert it with the TFLite converter"),
    (b"PK\x03\x04", "a ZIP archive (PyTorch or Keras?): export it to ONNX or TFLite"),
    (b"\x1f\x8b", "a gzip archive: unpack it first"),
    (b"BZh", "a bzip2 archive: unpack it first"),
    (b"\xfd7zXZ", "an xz archive: unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive: unpack it first"),
    (b"\x7fELF", "an ELF program or object"),
    (b"MZ", "a Windows program"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x80\x02", "a Python pickle (PyTorch?): export it to ONNX"),
    (b"\x80\x03", "a Python pickle (PyTorch?): export it to ONNX"),
    (b"\x80\x04", "a Python pickle (PyTorch?): export it to ONNX"),
    (b"\x80\x05", "a Python pickle (PyTorch?): export it to ONNX"),
    (b"GGUF", "a GGUF language model"),
    (b"RIFF", "a WAV, AVI or WebP file"),
    (b"version https://git-lfs", "a Git LFS pointer: fetch the file itself with `git lfs pull`"),
    (b"<!DOCTYPE", "a web page (a failed download?)"),
    (b"<html", "a web page (a failed download?)"),
    (b"#!", "a script"),
)
_TAR_MAGIC_AT = 257
_TEXT_BYTES = frozenset(range(32, 127)) | {9, 10, 13}
_TEXT_PROBE = 256


def lookalike(data: bytes) -> str | None:
    """Return what `data` looks like ("a PNG image"), or None if nothing known."""
    for prefix, what in _PREFIXES:
        if data.startswith(prefix):
            return what
    if data[_TAR_MAGIC_AT : _TAR_MAGIC_AT + 5] == b"ustar":
        return "a tar archive: unpack it first"
    if data[:_TEXT_PROBE].strip().startswith((b"{", b"[")):
        return "a JSON text"
    if len(data) >= 8 and set(data[:_TEXT_PROBE]) <= _TEXT_BYTES:
        return "a text file"
    return None
