"""Output that is sound to look at and attacks the tools that read or run it."""

from table import attack, relu, written


@attack
def include_a_secret(place):
    """gcc shows lines that are no C in its messages, which we show to the user."""
    written(place, {"m.c": f'#include "{place.plan["secret"]}"\n' + relu(place)})


@attack
def embed_a_secret(place):
    """The assembler copies any file into the object, and so into the module."""
    top = f'__asm__(".section .rodata\\n.incbin \\"{place.plan["secret"]}\\"\\n.text");'
    written(place, {"m.c": relu(place, top=top)})


@attack
def embed_a_device(place):
    """Endless, if it is read."""
    top = '__asm__(".section .rodata\\n.incbin \\"/dev/zero\\"\\n.text");'
    written(place, {"m.c": relu(place, top=top)})


@attack
def endless_macro(place):
    """Eight to the power of sixteen tokens."""
    lines = ["#define M0 1+1+1+1+1+1+1+1"]
    lines += [f"#define M{n} " + "+".join([f"M{n - 1}"] * 8) for n in range(1, 16)]
    written(place, {"m.c": "\n".join(lines) + "\nint x = M15;\n" + relu(place)})


@attack
def endless_template(place):
    """Each instance makes two more."""
    top = (
        "template <int N, long M> struct S { static const long v = "
        "S<N - 1, 2 * M>::v + S<N - 1, 2 * M + 1>::v; };\n"
        "template <long M> struct S<0, M> { static const long v = M; };\n"
        "long grown = S<40, 1>::v;\n"
        f'extern "C" int32_t {place.entry}(uint8_t *);'
    )
    written(place, {"m.cc": relu(place, top=top)})


@attack
def endless_include(place):
    written(place, {"m.c": "#include __FILE__\n#include __FILE__\n" + relu(place)})


@attack
def huge_object(place):
    """Initialised data of 3 GiB, which the assembler would write."""
    top = '__asm__(".data\\n.fill 0x30000000, 4, 1\\n.text");'
    written(place, {"m.c": relu(place, top=top)})


@attack
def huge_bss(place):
    top = "static volatile char room[1 << 30];"
    written(place, {"m.c": relu(place, before="room[1] = 1;", top=top)})


@attack
def huge_alignment(place):
    top = '__asm__(".section .rodata\\n.p2align 31\\n.byte 1\\n.text");'
    written(place, {"m.c": relu(place, top=top)})


@attack
def linker_script_as_object(place):
    """ld takes text for a script, which may name any file."""
    script = f"INPUT({place.plan['secret']})\nOUTPUT(/tmp/hostile)\n"
    written(place, {"m.c": relu(place), "n.o": script})


@attack
def archive_as_object(place):
    """A thin archive names members anywhere."""
    name = place.plan["secret"]
    head = f"{name}/".encode()
    member = b"//" + b" " * 46 + f"{len(head):<10}`\n".encode() + head
    written(place, {"m.c": relu(place), "n.o": b"!<thin>\n" + member})


@attack
def object_of_another_machine(place):
    from elf import msp430_object

    written(place, {"m.o": msp430_object(place.entry)})


@attack
def object_without_sections(place):
    """The table of sections lies far beyond the file's end."""
    from elf import msp430_object

    content = bytearray(msp430_object(place.entry))
    content[32:36] = (0xFFFFFF00).to_bytes(4, "little")
    written(place, {"m.o": bytes(content)})


@attack
def object_with_absurd_sections(place):
    """Sizes and names of sections that lead anywhere."""
    from elf import msp430_object

    content = bytearray(msp430_object(place.entry))
    table = int.from_bytes(content[32:36], "little")
    for section in range(1, 5):
        start = table + 40 * section
        content[start : start + 4] = (0x7FFFFFFF).to_bytes(4, "little")
        content[start + 20 : start + 24] = (0xFFFFFFF0).to_bytes(4, "little")
    written(place, {"m.o": bytes(content)})


@attack
def object_cut_short(place):
    from elf import msp430_object

    written(place, {"m.o": msp430_object(place.entry)[:60]})


@attack
def takes_over_the_harness(place):
    """Defines what the harness defines."""
    top = "void tinymlaas_harness(void) { for (;;) { } }\nint main(void) { return 0; }"
    written(place, {"m.c": relu(place, top=top)})


@attack
def hides_the_module(place):
    """Defines what the service generates around the entry."""
    top = f"int {place.task['name']}_invoke(void) {{ return 0; }}"
    written(place, {"m.c": relu(place, top=top)})


def _semihosted(what, block):
    """C for one request to the debugger: registers hold the number and its arguments."""
    return (
        f'{{ {block} register unsigned long r0 __asm__("r0") = {what}; '
        'register const void *r1 __asm__("r1") = block; '
        '__asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory"); said = r0; }'
    )


def _firmware(place, request, end="y[0] = 1e9f;"):
    """Make the request; the numbers are wrong then, so that the module is not taken either way."""
    written(place, {"m.c": relu(place, before="unsigned long said = 0;", after=request + end)})


def _opened(path, mode):
    return f'const void *block[3] = {{"{path}", (void *){mode}, (void *){len(path)}}};'


@attack
def firmware_reads_a_file(place):
    """SYS_OPEN of a secret: never ends if that goes well."""
    request = _semihosted(1, _opened(place.plan["secret"], 1))
    _firmware(place, request, "if (said != 0xffffffffUL) { for (;;) { } } y[0] = 1e9f;")


@attack
def firmware_writes_a_file(place):
    request = _semihosted(1, _opened(place.plan["written_path"], 5))
    _firmware(place, request)


@attack
def firmware_removes_a_file(place):
    path = place.plan["removable"]
    request = _semihosted(14, f'const void *block[2] = {{"{path}", (void *){len(path)}}};')
    _firmware(place, request)


@attack
def firmware_runs_a_command(place):
    """SYS_SYSTEM, which the simulator hands to a shell."""
    command = f"echo hostile > {place.plan['written_path']}"
    block = f'const void *block[2] = {{"{command}", (void *){len(command)}}};'
    _firmware(place, _semihosted(18, block))


@attack
def firmware_ends_early(place):
    block = "const unsigned long block[2] = {0x20026, 0};"
    _firmware(place, _semihosted(0x20, block))


@attack
def firmware_forges_its_answer(place):
    """Writes the file that the harness would, with numbers of its own, and ends well."""
    lines = (
        "static const unsigned char zeros[4096];\n"
        "static unsigned long ask(unsigned long n, const void *b) {\n"
        '  register unsigned long r0 __asm__("r0") = n;\n'
        '  register const void *r1 __asm__("r1") = b;\n'
        '  __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory"); return r0; }'
    )
    forge = (
        'const void *o[3] = {"outputs.bin", (void *)5, (void *)11}; unsigned long f = ask(1, o);'
        "const void *w[3] = {(void *)f, zeros, (void *)4096}; ask(5, w);"
        "const void *c[1] = {(void *)f}; ask(2, c);"
        "const unsigned long e[2] = {0x20026, 0}; ask(0x20, e);"
    )
    written(place, {"m.c": relu(place, after=forge, top=lines)})


@attack
def firmware_loops(place):
    written(place, {"m.c": relu(place, after='for (;;) { __asm volatile("nop"); }')})


@attack
def firmware_faults(place):
    after = "((void (*)(void))0xE0000000UL)();"
    written(place, {"m.c": relu(place, after=after)})


@attack
def firmware_prints_for_ever(place):
    """SYS_WRITE0 to the simulator's console."""
    block = 'const char *block = "hostile hostile hostile hostile hostile hostile\\n";'
    request = _semihosted(4, block)
    written(place, {"m.c": relu(place, before="unsigned long said;", after=f"for (;;) {request}")})


def _native(place, body):
    """C that runs on the worker's own processor: the host is a board too."""
    top = (
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n"
        "#include <signal.h>\n#include <sys/socket.h>\n#include <netinet/in.h>\n"
    )
    written(place, {"m.c": relu(place, after=body, top=top)})


@attack
def native_reads_a_file(place):
    body = f'FILE *f = fopen("{place.plan["secret"]}", "r"); y[0] = f ? -1e9f : 1e9f;'
    body += 'fprintf(stderr, f ? "ESCAPED\\n" : "contained\\n"); exit(9);'
    _native(place, body)


@attack
def native_opens_a_socket(place):
    port = place.plan["tcp"]
    body = (
        "int s = socket(AF_INET, SOCK_STREAM, 0); struct sockaddr_in a = {0};"
        "a.sin_family = AF_INET; a.sin_addr.s_addr = htonl(0x7f000001);"
        f"a.sin_port = htons({port});"
        "int c = connect(s, (struct sockaddr *)&a, sizeof a);"
        'fprintf(stderr, s >= 0 && c == 0 ? "ESCAPED\\n" : "contained\\n"); exit(9);'
    )
    _native(place, body)


@attack
def native_kills_all(place):
    _native(place, "kill(-1, SIGKILL); kill(getpid(), SIGKILL);")


@attack
def native_runs_before_main(place):
    """A constructor, before the harness has begun: forges the answer and ends well."""
    top = (
        "#include <stdio.h>\n#include <stdlib.h>\n"
        "__attribute__((constructor)) static void first(void) {\n"
        '  FILE *f = fopen("outputs.bin", "wb"); static char z[4096];\n'
        "  if (f) { fwrite(z, 1, sizeof z, f); fclose(f); } _Exit(0); }"
    )
    written(place, {"m.c": relu(place, top=top)})
