"""Output that is not what it should be; the compiler itself ends well, with status 0."""

import itertools
import json
import os
import socket
import time

from elf import msp430_object
from table import attack, compiled, relu, written


def _sound(place):
    return {"m.o": msp430_object(place.entry)}


def _renamed(place, name, **changes):
    """Sound output but for what the one object is said to be called."""
    written(place, _sound(place), **{"objects": [name], **changes})


@attack
def output_is_a_symlink(place):
    written(place, _sound(place))
    (place.out / "m.o").unlink()
    (place.out / "m.o").symlink_to(place.plan["secret"])


@attack
def output_in_a_linked_folder(place):
    written(place, {"m.o": b""}, objects=["folder/hostname"])
    (place.out / "folder").symlink_to("/etc")


@attack
def output_is_a_hard_link(place):
    """Of a file outside: refused when it is made, or when it is read."""
    written(place, _sound(place))
    (place.out / "m.o").unlink()
    os.link("/etc/passwd", place.out / "m.o")


@attack
def output_is_a_pipe(place):
    """Who opens it to read waits for ever."""
    written(place, _sound(place))
    (place.out / "m.o").unlink()
    os.mkfifo(place.out / "m.o")


@attack
def output_is_a_device(place):
    """Endless, if it is read."""
    written(place, _sound(place))
    (place.out / "m.o").unlink()
    os.mknod(place.out / "m.o", 0o20666, os.makedev(1, 5))


@attack
def output_is_a_socket(place):
    written(place, _sound(place))
    (place.out / "m.o").unlink()
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(place.out)
        made.bind("m.o")


@attack
def output_is_a_folder(place):
    written(place, _sound(place))
    (place.out / "m.o").unlink()
    (place.out / "m.o").mkdir()


@attack
def answer_is_a_symlink(place):
    written(place, _sound(place))
    (place.out / "compiled.json").rename(place.out / "elsewhere")
    (place.out / "compiled.json").symlink_to("elsewhere")


@attack
def answer_is_a_pipe(place):
    (place.out / "m.o").write_bytes(b"")
    os.mkfifo(place.out / "compiled.json")


@attack
def output_folder_is_replaced(place):
    """The folder that is read becomes a link to another."""
    written(place, _sound(place))
    place.out.rename(place.out.with_name("moved"))
    place.out.symlink_to("/etc")


@attack
def symlink_race(place):
    """A child goes on swapping the output for a link while it is read."""
    written(place, {"m.o": b"no object"})
    if os.fork() == 0:
        os.setsid()
        os.closerange(0, 256)
        end = time.monotonic() + 30
        while time.monotonic() < end:
            os.symlink(place.plan["secret"], place.out / "link")
            os.rename(place.out / "link", place.out / "m.o")
            (place.out / "file").write_bytes(b"no object")
            os.rename(place.out / "file", place.out / "m.o")
        os._exit(0)


@attack
def name_goes_up(place):
    _renamed(place, "../../task/model.onnx")


@attack
def name_goes_up_in_the_middle(place):
    _renamed(place, "a/../../out/m.o")


@attack
def name_is_absolute(place):
    _renamed(place, "/etc/hostname")


@attack
def name_has_a_newline(place):
    name = "m\nerror: your account is closed\n.o"
    written(place, {name: msp430_object(place.entry)}, objects=[name])


@attack
def name_has_a_nul(place):
    _renamed(place, "m.o\0.txt")


@attack
def name_is_an_option(place):
    """A file called like an option of gcc's, or of ar's."""
    name = "-fplugin=hostile.o"
    written(place, {name: msp430_object(place.entry)}, objects=[name])


@attack
def name_is_a_response_file(place):
    """gcc and ar read more arguments from what is called @file."""
    name = "@arguments.o"
    written(place, {name: b"-o /tmp/hostile"}, objects=[name])


@attack
def name_is_long(place):
    _renamed(place, "n" * 100_000 + ".o")


@attack
def name_is_not_text(place):
    (place.out / "m.o").write_bytes(b"")
    text = json.dumps(compiled(place, _sound(place)))
    (place.out / "compiled.json").write_bytes(text.replace("m.o", "m\xff.o").encode("latin-1"))


@attack
def file_name_is_not_text(place):
    written(place, _sound(place))
    with open(os.fsencode(place.out) + b"/\xff\xfe.o", "wb"):
        pass
    text = (place.out / "compiled.json").read_text()
    (place.out / "compiled.json").write_text(text.replace("m.o", "\\udcff\\udcfe.o"))


@attack
def include_folder_outside(place):
    written(place, {"m.c": relu(place)}, include_dirs=["../../../etc"])


@attack
def flags_load_a_plugin(place):
    written(place, {"m.c": relu(place)}, cflags=["-fplugin=./hostile.so"])


@attack
def flags_run_a_program(place):
    written(place, {"m.c": relu(place)}, cflags=["-wrapper", "/bin/sh,-c,id"])


@attack
def flags_write_a_file(place):
    written(place, {"m.c": relu(place)}, cflags=["-o", "/tmp/hostile"])


@attack
def entry_is_code(place):
    """The name stands in the C that the service writes."""
    _renamed(place, "m.o", entry='x(0); } __asm__(".incbin \\"/etc/passwd\\""); void f() { y')


@attack
def claims_another_action(place):
    """Whose outcome this would be, if anybody read it."""
    written(place, _sound(place), action_digest="a" * 64)


@attack
def claims_another_compiler(place):
    written(place, _sound(place), compiler="tvm", version="0.27")


@attack
def claims_other_tensors(place):
    """An output of another shape than the model's."""
    (y,) = place.task["summary"]["outputs"]
    spec = {**y, "shape": [1, 1]}
    written(place, _sound(place), outputs=[{"spec": spec, "offset": 0}])


@attack
def tensors_beyond_the_arena(place):
    """The harness would write there."""
    (y,) = place.task["summary"]["outputs"]
    written(place, _sound(place), outputs=[{"spec": y, "offset": 1 << 40}])


@attack
def tensors_before_the_arena(place):
    (y,) = place.task["summary"]["outputs"]
    written(place, _sound(place), outputs=[{"spec": y, "offset": -4096}])


@attack
def arena_of_an_exabyte(place):
    written(place, {"m.c": relu(place)}, arena={"size": 1 << 60, "alignment": 16})


@attack
def arena_of_no_number(place):
    _renamed(place, "m.o", arena={"size": "1e400", "alignment": 16})


@attack
def answer_is_no_json(place):
    (place.out / "compiled.json").write_text("{'compiler': __import__('os').system('id')}")


@attack
def answer_is_deep(place):
    (place.out / "compiled.json").write_text("[" * 1_000_000)


@attack
def answer_is_huge(place):
    with (place.out / "compiled.json").open("w") as file:
        file.write('{"compiler": "')
        for _ in range(16):
            file.write("h" * (1 << 20))
        file.write('"}')


@attack
def answer_has_a_huge_number(place):
    """Turning it into an integer takes the square of its length."""
    (place.out / "compiled.json").write_text('{"weight_bytes": ' + "9" * 4_000_000 + "}")


@attack
def many_files(place):
    written(place, _sound(place), extras=[])
    for number in range(20_000):
        (place.out / f"{number}.txt").touch()


@attack
def many_named_files(place):
    names = [f"{number}.txt" for number in range(20_000)]
    for name in names:
        (place.out / name).touch()
    written(place, _sound(place), extras=names)


@attack
def deep_folders(place):
    written(place, _sound(place))
    os.chdir(place.out)
    for number in itertools.count():
        os.mkdir("d")
        os.chdir("d")
        if number > 2000:
            break


@attack
def extras_replace_the_manifest(place):
    """Members of the archive that the service writes itself."""
    files = {**_sound(place), "manifest.json": "{}"}
    written(place, files, extras=["manifest.json"])


@attack
def extras_replace_the_golden(place):
    files = {**_sound(place), "../verify/inputs.bin": b"x"}
    written(place, files, extras=["../verify/inputs.bin"])
