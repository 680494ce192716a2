import shutil

import pytest

from workers.toolchains.image import elf_machine, module_share

MAP = """
Archive member included to satisfy reference by file (symbol)
Discarded input sections

 .text.unused   0x0000000000000000      0x100 lib/libkws.a(model.o)

Linker script and memory map

 .text.kws_entry
                0x0000000000000100      0x200 /tmp/x/lib/libkws.a(model.o)
 .text.kws_init
                0x0000000000000300       0x10 /tmp/x/lib/libkws.a(kws_module.o)
 .text.expf     0x0000000000000310       0x40 /usr/lib/libm.a(expf.o)
 .text.other    0x0000000000000350       0x80 /tmp/x/lib/libkws2.a(model.o)
 *fill*         0x0000000000000150        0x2
 .rodata.weights
                0x0000000000000400     0x1000 /tmp/x/lib/libkws.a(model.o)
 .rodata.expf   0x0000000000001400      0x100 /usr/lib/libm.a(expf.o)
 .bss.arena     0x0000000020000000       0x40 /tmp/x/lib/libkws.a(model.o)
"""


def test_the_modules_share_is_what_its_library_put_into_the_image():
    share = module_share(MAP, "kws")
    assert (share.code, share.weights) == (0x210, 0x1000)


@pytest.mark.skipif(shutil.which("sh") is None, reason="no sh")
def test_machine_of_files(tmp_path):
    (tmp_path / "text").write_bytes(b"not ELF")
    (tmp_path / "empty").write_bytes(b"")
    assert elf_machine(tmp_path / "text") is None
    assert elf_machine(tmp_path / "empty") is None
    assert (elf_machine(tmp_path / "text") or "").startswith("EM_") is False
