import subprocess

import pytest

from tests.unit.toolchains.handmade import (
    DENSE,
    HOST,
    INTEGER,
    M4F,
    MSP430,
    NAME,
    TARGETS,
    body,
    compiled,
)
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from workers.toolchains import image
from workers.toolchains.fit import ModuleDoesNotFit, object_footprint
from workers.toolchains.library import build_library
from workers.toolchains.toolchain import toolchain_for


@pytest.mark.parametrize("core", TARGETS)
def test_a_module_becomes_a_library_for_every_core(core, tmp_path):
    library = DENSE.build(TARGETS[core], tmp_path)
    toolchain = toolchain_for(TARGETS[core].core)
    symbols = subprocess.run(
        [toolchain.tool("nm"), "-g", "--defined-only", library.path],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    defined = {line.split()[-1] for line in symbols.splitlines() if len(line.split()) == 3}
    calls = {f"{NAME}_{suffix}" for suffix in ("init", "input", "invoke", "output")}
    assert defined == {"hand_entry", *calls}
    writable = sum(s.size for s in image.object_sections(library.path) if s.writable)
    assert writable <= 8  # the pointer to the arena
    names = [str(path.relative_to(library.root)) for path in library.sources]
    assert names == ["src/gen/hand.c", "src/hand_module.c"]
    assert "gcc" in library.toolchain


@pytest.mark.parametrize("core", ["m4f", "rv32imac", "avr6", "host"])
def test_the_librarys_bytes_do_not_depend_on_where_it_is_built(core, tmp_path):
    one = DENSE.build(TARGETS[core], tmp_path / "a")
    other = DENSE.build(TARGETS[core], tmp_path / "somewhere" / "else" / "b")
    assert one.path.read_bytes() == other.path.read_bytes()
    assert one.header.read_bytes() == other.header.read_bytes()
    assert one.cflags == other.cflags
    assert str(tmp_path).encode() not in one.path.read_bytes()


def test_the_header_is_clean_c_and_cpp(tmp_path):
    library = INTEGER.build(HOST, tmp_path)
    use = tmp_path / "use.c"
    use.write_text(
        f'#include "{NAME}.h"\n#include "{NAME}.h"\n'
        "static HAND_INPUT0_TYPE x[HAND_INPUT0_ELEMENTS];\n"
        "int main(void) { return (int)sizeof x == (int)HAND_INPUT0_BYTES ? 0 : hand_invoke(); }\n"
    )
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{library.header.parent}"]
    for command in (
        ["gcc", "-std=c99", *strict, "-c", use, "-o", tmp_path / "c.o"],
        ["g++", "-x", "c++", "-std=c++17", *strict, "-c", use, "-o", tmp_path / "cpp.o"],
    ):
        subprocess.run(command, check=True)
    # A C++ caller must find the C symbols, position-independent code or not.
    for mode in ("-pie", "-no-pie"):
        program = tmp_path / f"use{mode}"
        subprocess.run(
            ["g++", mode, "-o", program, f"-I{library.header.parent}"]  # noqa: RUF005
            + ["-x", "c++", use, "-x", "none", library.path],
            check=True,
        )
        subprocess.run([program], check=True)


def test_the_abi_refuses_what_it_must(tmp_path):
    library = INTEGER.build(HOST, tmp_path)
    use = tmp_path / "use.c"
    use.write_text(
        f"""
#include "{NAME}.h"
static _Alignas(HAND_ARENA_ALIGN) unsigned char arena[HAND_ARENA_BYTES + HAND_ARENA_ALIGN];
#define CHECK(what) if (!(what)) return __LINE__;
int main(void) {{
  CHECK(hand_input(0) == 0 && hand_output(0) == 0 && hand_invoke() == -1)
  CHECK(hand_init(0) == -1 && hand_init(arena + 1) == -1)
  CHECK(hand_input(0) == 0 && hand_invoke() == -1)
  CHECK(hand_init(arena) == 0)
  CHECK(hand_input(0) == arena && hand_input(1) == arena + 16)
  CHECK(hand_output(1) == arena + 48 && hand_output(2) == 0 && hand_input(2) == 0)
  CHECK(hand_input(0xFFFFFFFFu) == 0 && hand_invoke() == 0)
  return 0;
}}
"""
    )
    program = tmp_path / "use"
    subprocess.run(
        ["gcc", use, f"-I{library.header.parent}", library.path, "-o", program], check=True
    )
    assert subprocess.run([program], check=False).returncode == 0


def test_init_of_the_compiler_runs_and_may_fail(tmp_path):
    declared = "int32_t hand_setup(uint8_t *arena) { arena[16] = 9; return arena == 0 ? -1 : 7; }"
    module = body("", declared, init="hand_setup")
    library = module.build(HOST, tmp_path)
    use = tmp_path / "use.c"
    use.write_text(
        f'#include "{NAME}.h"\n'
        "static _Alignas(16) unsigned char a[HAND_ARENA_BYTES];\n"
        "int main(void) { return hand_init(a) == 7 && a[16] == 9 && hand_invoke() == -1 ? 0 : 1; }"
    )
    program = tmp_path / "use"
    subprocess.run(
        ["gcc", use, f"-I{library.header.parent}", library.path, "-o", program], check=True
    )
    assert subprocess.run([program], check=False).returncode == 0


def test_headers_beside_sources_and_in_include_folders_come_along(tmp_path):
    module = body("y[0] = FACTOR * OTHER * x[0];", '#include "near.h"\n#include <far.h>')
    out = module.write(tmp_path / "out")
    (out / "gen" / "near.h").write_text("#define FACTOR 2\n")
    (out / "inc" / "deep").mkdir(parents=True)
    (out / "inc" / "far.h").write_text('#include "deep/more.h"\n')
    (out / "inc" / "deep" / "more.h").write_text("#define OTHER 3\n")
    description = module.compiled.model_copy(update={"include_dirs": ("inc",)})
    library = build_library(out, description, NAME, HOST, tmp_path / "module")
    names = {str(path.relative_to(library.root / "src")) for path in library.sources}
    assert names == {
        "gen/hand.c",
        "gen/near.h",
        "hand_module.c",
        "inc/deep/more.h",
        "inc/far.h",
    }


def test_cpp_sources_compile(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "m.cc").write_text(
        "#include <stdint.h>\n#include <array>\n"
        'extern "C" int32_t hand_entry(uint8_t *arena) {\n'
        "  std::array<int, 2> a{{arena[0], 2}}; arena[16] = (uint8_t)a[0]; return 0; }\n"
    )
    description = compiled((), (), 32, sources=("m.cc",))
    assert build_library(out, description, NAME, M4F, tmp_path / "module").path.exists()


def _object(tmp_path, target, name="extra.o"):
    gcc = toolchain_for(target.core)
    source = tmp_path / "extra.c"
    source.write_text("int hand_extra(int x) { return x + 1; }\n")
    made = tmp_path / name
    command = [gcc.tool("gcc"), *gcc.cflags(target), "-c", source, "-o", made]
    subprocess.run(command, check=True)
    return made


def test_objects_of_a_compiler_join_the_library(tmp_path):
    module = body("y[0] = hand_extra(x[0]);", "int hand_extra(int x);", objects=("o/extra.o",))
    out = module.write(tmp_path / "out")
    (out / "o").mkdir()
    _object(tmp_path, M4F).rename(out / "o" / "extra.o")
    library = build_library(out, module.compiled, NAME, M4F, tmp_path / "module")
    code = sum(s.size for s in image.object_sections(library.path) if s.executable)
    assert code > 0


def test_an_object_for_another_machine_is_refused(tmp_path):
    module = body("", objects=("extra.o",))
    out = module.write(tmp_path / "out")
    _object(tmp_path, HOST).rename(out / "extra.o")
    with pytest.raises(CompilerCrashed, match=r"extra.o is for EM_"):
        build_library(out, module.compiled, NAME, M4F, tmp_path / "module")
    (out / "extra.o").write_bytes(b"no ELF")
    with pytest.raises(CompilerCrashed, match=r"extra.o is for no machine"):
        build_library(out, module.compiled, NAME, M4F, tmp_path / "module")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sources": ("gen/none.c",)}, "gen/none.c, which is not there"),
        ({"sources": ("leak.c",)}, "leak.c, which leads out"),
        ({"sources": ("gen/hand.py",)}, "not C"),
        ({"sources": ("hand_module.c",)}, "a name the ABI needs"),
        ({"include_dirs": ("none",)}, "none, which is not there"),
        ({"objects": ("none.o",)}, "none.o, which is not there"),
        ({"cflags": ("-fplugin=x",)}, "forbidden"),
    ],
)
def test_output_that_breaks_the_interface_is_named(change, said, tmp_path):
    module = body("")
    out = module.write(tmp_path / "out")
    (out / "gen" / "hand.py").write_text("")
    (tmp_path / "secret.c").write_text("int secret;")
    (out / "leak.c").symlink_to(tmp_path / "secret.c")
    with pytest.raises(CompilerCrashed, match=said):
        build_library(
            out, module.compiled.model_copy(update=change), NAME, HOST, tmp_path / "module"
        )


def test_wrong_c_is_reported_by_its_first_error(tmp_path):
    with pytest.raises(CompilerCrashed, match=r"rejects src/gen/hand.c: .*nonsense") as caught:
        body("nonsense;").build(M4F, tmp_path)
    assert str(tmp_path) not in str(caught.value)


def test_msp430_gets_a_library_of_objects(tmp_path):
    module = body("")
    with pytest.raises(ToolchainError, match="no msp430 gcc"):
        module.build(MSP430, tmp_path / "a")
    out = tmp_path / "out"
    out.mkdir()
    data = bytearray(_object(tmp_path, TARGETS["rv32imc"]).read_bytes())
    data[18:20] = (105).to_bytes(2, "little")  # e_machine: EM_MSP430
    (out / "m.o").write_bytes(data)
    description = compiled((), (), 100, sources=(), objects=("m.o",))
    library = build_library(out, description, NAME, MSP430, tmp_path / "module")
    footprint = object_footprint(library, description, MSP430)
    assert footprint.level == "estimated"
    assert footprint.arena_bytes == 100
    assert 0 < footprint.code_bytes == footprint.flash_bytes < 100
    assert library.header.exists()
    small = CapabilityClass(
        core=MSP430.core,
        cpu=MSP430.cpu,
        memory=tuple(r.model_copy(update={"length": 64}) for r in MSP430.memory),
    )
    with pytest.raises(ModuleDoesNotFit, match="needs 100 bytes RAM of 64 bytes"):
        object_footprint(library, description, small)
