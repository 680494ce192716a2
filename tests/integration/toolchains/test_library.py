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
    unpacked,
)
from tinymlaas.contract.device import CapabilityClass
from tinymlaas.contract.errors import CompilerCrashed, ToolchainError
from workers.toolchains import image
from workers.toolchains.fit import ModuleDoesNotFit, object_footprint
from workers.toolchains.library import build_library
from workers.toolchains.toolchain import toolchain_for


@pytest.mark.parametrize("core", TARGETS)
def test_a_module_becomes_a_library_for_every_core(core, tmp_path):
    library = DENSE.build(TARGETS[core])
    toolchain = toolchain_for(TARGETS[core].core)
    symbols = subprocess.run(
        [toolchain.tool("nm"), "-g", "--defined-only", unpacked(library, tmp_path)[0]],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    defined = {line.split()[-1] for line in symbols.splitlines() if len(line.split()) == 3}
    calls = {f"{NAME}_{suffix}" for suffix in ("init", "input", "invoke", "output")}
    assert defined == {"hand_entry", *calls}
    writable = sum(s.size for s in image.object_sections(library.library) if s.writable)
    assert writable <= 8  # the pointer to the arena
    assert list(library.sources) == ["gen/hand.c", "hand_module.c"]
    assert "gcc" in library.toolchain


@pytest.mark.parametrize("core", ["m4f", "rv32imac", "avr6", "host"])
def test_the_librarys_bytes_do_not_depend_on_where_it_is_built(core, tmp_path, monkeypatch):
    one = DENSE.build(TARGETS[core])
    monkeypatch.chdir(tmp_path)
    other = DENSE.build(TARGETS[core])
    assert one == other
    assert str(tmp_path).encode() not in one.library


def test_the_header_is_clean_c_and_cpp(tmp_path):
    library, include = unpacked(INTEGER.build(HOST), tmp_path / "module")
    use = tmp_path / "use.c"
    use.write_text(
        f'#include "{NAME}.h"\n#include "{NAME}.h"\n'
        "static HAND_INPUT0_TYPE x[HAND_INPUT0_ELEMENTS];\n"
        "int main(void) { return (int)sizeof x == (int)HAND_INPUT0_BYTES ? 0 : hand_invoke(); }\n"
    )
    strict = ["-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{include}"]
    for command in (
        ["gcc", "-std=c99", *strict, "-c", use, "-o", tmp_path / "c.o"],
        ["g++", "-x", "c++", "-std=c++17", *strict, "-c", use, "-o", tmp_path / "cpp.o"],
    ):
        subprocess.run(command, check=True)
    # A C++ caller must find the C symbols, position-independent code or not.
    for mode in ("-pie", "-no-pie"):
        program = tmp_path / f"use{mode}"
        subprocess.run(
            ["g++", mode, "-o", program, f"-I{include}"]  # noqa: RUF005
            + ["-x", "c++", use, "-x", "none", library],
            check=True,
        )
        subprocess.run([program], check=True)


def test_the_abi_refuses_what_it_must(tmp_path):
    library, include = unpacked(INTEGER.build(HOST), tmp_path / "module")
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
    subprocess.run(["gcc", use, f"-I{include}", library, "-o", program], check=True)
    assert subprocess.run([program], check=False).returncode == 0


def test_init_of_the_compiler_runs_and_may_fail(tmp_path):
    declared = "int32_t hand_setup(uint8_t *arena) { arena[16] = 9; return arena == 0 ? -1 : 7; }"
    module = body("", declared, init="hand_setup")
    library, include = unpacked(module.build(HOST), tmp_path / "module")
    use = tmp_path / "use.c"
    use.write_text(
        f'#include "{NAME}.h"\n'
        "static _Alignas(16) unsigned char a[HAND_ARENA_BYTES];\n"
        "int main(void) { return hand_init(a) == 7 && a[16] == 9 && hand_invoke() == -1 ? 0 : 1; }"
    )
    program = tmp_path / "use"
    subprocess.run(["gcc", use, f"-I{include}", library, "-o", program], check=True)
    assert subprocess.run([program], check=False).returncode == 0


def test_headers_beside_sources_and_in_include_folders_come_along():
    module = body("y[0] = FACTOR * OTHER * x[0];", '#include "near.h"\n#include <far.h>')
    headers = {
        "gen/near.h": b"#define FACTOR 2\n",
        "inc/far.h": b'#include "deep/more.h"\n',
        "inc/deep/more.h": b"#define OTHER 3\n",
        "elsewhere/not.h": b"",
    }
    description = module.compiled.model_copy(update={"include_dirs": ("inc",)})
    library = build_library(module.files | headers, description, NAME, HOST)
    assert set(library.sources) == {
        "gen/hand.c",
        "gen/near.h",
        "hand_module.c",
        "inc/deep/more.h",
        "inc/far.h",
    }


def test_cpp_sources_compile():
    source = (
        "#include <stdint.h>\n#include <array>\n"
        'extern "C" int32_t hand_entry(uint8_t *arena) {\n'
        "  std::array<int, 2> a{{arena[0], 2}}; arena[16] = (uint8_t)a[0]; return 0; }\n"
    )
    description = compiled((), (), 32, sources=("m.cc",))
    library = build_library({"m.cc": source.encode()}, description, NAME, M4F)
    assert library.library.startswith(b"!<arch>")


def _object(tmp_path, target):
    gcc = toolchain_for(target.core)
    source, made = tmp_path / "extra.c", tmp_path / "extra.o"
    source.write_text("int hand_extra(int x) { return x + 1; }\n")
    command = [gcc.tool("gcc"), *gcc.cflags(target), "-c", source, "-o", made]
    subprocess.run(command, check=True)
    return made.read_bytes()


def test_objects_of_a_compiler_join_the_library(tmp_path):
    module = body("y[0] = hand_extra(x[0]);", "int hand_extra(int x);", objects=("o/extra.o",))
    files = module.files | {"o/extra.o": _object(tmp_path, M4F)}
    library = build_library(files, module.compiled, NAME, M4F)
    assert b"given_o_extra.o" in library.library
    code = sum(s.size for s in image.object_sections(library.library) if s.executable)
    assert code > 0


def test_an_object_for_another_machine_is_refused(tmp_path):
    module = body("", objects=("extra.o",))
    files = module.files | {"extra.o": _object(tmp_path, HOST)}
    with pytest.raises(CompilerCrashed, match=r"extra.o is for EM_"):
        build_library(files, module.compiled, NAME, M4F)
    with pytest.raises(CompilerCrashed, match=r"extra.o is for no machine"):
        build_library(module.files | {"extra.o": b"no ELF"}, module.compiled, NAME, M4F)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sources": ("gen/none.c",)}, "gen/none.c, which is not there"),
        ({"sources": ("gen/hand.py",)}, "not C"),
        ({"sources": ("hand_module.c",)}, "a name the ABI needs"),
        ({"sources": ("gen/hand.c", "gen_hand.c")}, "object names clash"),
        ({"include_dirs": ("none",)}, "none, which is not there"),
        ({"objects": ("none.o",)}, "none.o, which is not there"),
        ({"extras": ("gen/hand.c",)}, "gen/hand.c twice"),
        ({"cflags": ("-fplugin=x",)}, "forbidden"),
    ],
)
def test_output_that_breaks_the_interface_is_named(change, said):
    module = body("")
    files = module.files | {"gen/hand.py": b"", "gen_hand.c": b""}
    with pytest.raises(CompilerCrashed, match=said):
        build_library(files, module.compiled.model_copy(update=change), NAME, HOST)


KERNEL = "#include <k.h>\nint hand_kernel(int x) { return KERNEL * x; }\n"


def _with_kernel(cache, kernel=KERNEL, header="#define KERNEL 3\n", statement="", model=""):
    """Build a module of a file of its own, ``m.c``, that `statement` changes, and one kernel."""
    own = body(f"y[0] = hand_kernel(x[0]); {statement}", "int hand_kernel(int x);")
    files = {"m.c": own.source.encode(), "k/k.c": kernel.encode(), "k/inc/k.h": header.encode()}
    update = {"sources": ("m.c", "k/k.c"), "include_dirs": ("k/inc",)}
    files["model.h"] = model.encode()
    return build_library(files, own.compiled.model_copy(update=update), NAME, M4F, cache=cache)


def _kept(cache):
    return {path.name: path.stat().st_mtime_ns for path in cache.iterdir()}


def test_a_kernels_object_is_kept_under_all_that_its_job_could_see(tmp_path):
    cache = tmp_path / "cache"
    first = _with_kernel(cache)
    one = _kept(cache)
    assert len(one) == 1
    assert _with_kernel(cache).library == first.library
    _with_kernel(cache, statement="y[0] += 1;", model="#define OTHER 1\n")
    assert _kept(cache) == one  # what was generated for one model is not in the key
    assert _with_kernel(cache, header="#define KERNEL 4\n").library != first.library
    assert len(_kept(cache)) == 2
    _with_kernel(cache, kernel=f"{KERNEL}\n")
    assert len(_kept(cache)) == 3


def test_a_kernels_job_sees_nothing_that_was_generated_for_one_model(tmp_path):
    leak = f'#include "../model.h"\n{KERNEL}'
    with pytest.raises(CompilerCrashed, match=r"rejects src/k/k.c: .*model.h: No such file"):
        _with_kernel(tmp_path / "cache", kernel=leak, model="int hand_secret;\n")
    leak = f"#include <{NAME}.h>\n{KERNEL}"
    with pytest.raises(CompilerCrashed, match=rf"rejects src/k/k.c: .*{NAME}.h: No such file"):
        _with_kernel(tmp_path / "cache", kernel=leak)
    assert not (tmp_path / "cache").exists()


def test_wrong_c_is_reported_by_its_first_error(tmp_path):
    with pytest.raises(CompilerCrashed, match=r"rejects src/gen/hand.c: .*nonsense") as caught:
        body("nonsense;").build(M4F)
    assert str(tmp_path) not in str(caught.value)


def test_msp430_gets_a_library_of_objects(tmp_path):
    module = body("")
    with pytest.raises(ToolchainError, match="no msp430 gcc"):
        module.build(MSP430)
    data = bytearray(_object(tmp_path, TARGETS["rv32imc"]))
    data[18:20] = (105).to_bytes(2, "little")  # e_machine: EM_MSP430
    description = compiled((), (), 100, sources=(), objects=("m.o",))
    library = build_library({"m.o": bytes(data)}, description, NAME, MSP430)
    footprint = object_footprint(library, description, MSP430)
    assert footprint.level == "estimated"
    assert footprint.arena_bytes == 100
    assert 0 < footprint.code_bytes == footprint.flash_bytes < 100
    assert f"{NAME}_init".encode() in library.header
    assert list(library.sources) == ["hand_module.c"]
    small = CapabilityClass(
        core=MSP430.core,
        cpu=MSP430.cpu,
        memory=tuple(r.model_copy(update={"length": 64}) for r in MSP430.memory),
    )
    with pytest.raises(ModuleDoesNotFit, match="needs 100 bytes RAM of 64 bytes"):
        object_footprint(library, description, small)
