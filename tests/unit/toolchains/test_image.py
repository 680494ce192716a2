from tests.services.stub_compiler.elf import msp430_object
from workers.toolchains.image import (
    DamagedObject,
    machine_of_object,
    module_share,
    object_sections,
)

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


def test_machine_of_files(tmp_path):
    file = tmp_path / "file"
    for content in (b"not ELF", b"", b"\x7fELF", b"\x7fELF" + bytes(60)):
        file.write_bytes(content)
        assert not (machine_of_object(file) or "").startswith("EM_")
    file.write_bytes(msp430_object("run"))
    assert machine_of_object(file) == "EM_MSP430"


def test_no_damage_of_an_object_is_more_than_a_reason(tmp_path):
    """Every byte set to 255, and every length: a typed error or sizes, never another exception."""
    sound = msp430_object("run")
    file, refused = tmp_path / "file.o", []
    for number in range(len(sound)):
        spoilt = bytearray(sound)
        spoilt[number] = 255
        for content in (bytes(spoilt), sound[:number]):
            file.write_bytes(content)
            library = b"!<arch>\n" + b"file.o/".ljust(48) + f"{len(content):<10}`\n".encode()
            try:
                machine_of_object(file)
                object_sections(library + content)
            except DamagedObject as error:
                refused.append(str(error))
    assert len(refused) > len(sound) // 2
    assert all(said.startswith("it is no sound ELF file: ") for said in refused)
