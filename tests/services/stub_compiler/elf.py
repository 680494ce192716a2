"""An object file for MSP430, for which there is no gcc here: one function, the least that is sound.

System V ABI, "Object Files"; machine 105 is EM_MSP430.
"""

import struct

_CODE = b"\x4c\x43\x30\x41"  # clr.b r12; ret
_NULL, _PROGBITS, _SYMTAB, _STRTAB = 0, 1, 2, 3
_GLOBAL_FUNCTION = 0x12


def msp430_object(function: str) -> bytes:
    """Return an ELF relocatable object that defines `function`."""
    strings = b"\0" + function.encode() + b"\0"
    names = b"\0.text\0.symtab\0.strtab\0.shstrtab\0"
    symbols = bytes(16) + struct.pack("<IIIBBH", 1, 0, len(_CODE), _GLOBAL_FUNCTION, 0, 1)
    parts = [  # name, type, flags, content, link, info, entry size
        (b"", _NULL, 0, b"", 0, 0, 0),
        (b".text", _PROGBITS, 6, _CODE, 0, 0, 0),
        (b".symtab", _SYMTAB, 0, symbols, 3, 1, 16),
        (b".strtab", _STRTAB, 0, strings, 0, 0, 0),
        (b".shstrtab", _STRTAB, 0, names, 0, 0, 0),
    ]
    body, headers = b"", b""
    for name, kind, flags, content, link, info, size in parts:
        body += bytes(-len(body) % 4)
        start = 52 + len(body) if kind else 0
        place = names.index(b"\0" + name + b"\0") + 1 if name else 0
        headers += struct.pack(
            "<10I", place, kind, flags, 0, start, len(content), link, info, 4 if kind else 0, size
        )
        body += content
    body += bytes(-len(body) % 4)
    table = 52 + len(body)
    head = struct.pack(
        "<4s5B7xHHIIIIIHHHHHH",
        *(b"\x7fELF", 1, 1, 1, 0, 0, 1, 105, 1, 0, 0, table, 0, 52, 0, 0, 40, len(parts), 4),
    )
    return head + body + headers
