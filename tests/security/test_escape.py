"""Whatever a compiler tries, its job ends with a true reason and the worker takes the next.

The attacks are those of `tests/security/hostile`; here stands what is said of each. `test_canary`
shows that they are real.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest
from _pytest.mark import ParameterSet

from storage import keys
from tests.security.hostile import NEEDLE
from tests.security.tasks import BOARD
from tests.security.yard import HURRY, LIMITS, Yard, opened
from tests.services.stub_compiler import FAST
from tinymlaas.contract.jobs import Outcome
from tinymlaas.contract.report import CandidateStatus

# Every day a choice is made of each kind, in `make test-all` all are: these are left to that.
SELDOM = set(
    re.findall(
        r"\w+",
        """
packet_socket netlink hostname key_file_by_link command_lines store home devices terminal
kernel_log our_package write_library poison_service change_own_program write_store write_home
write_other_job write_shared_memory write_etc write_root write_sysrq write_control_groups
spare_us_from_oom set_user_id leave_python_startup memory_of_pipes memory_of_threads
disk_elsewhere open_files sparse_file first_in_line locked_memory hold_the_pipes trace_init
write_parents_memory parents_descriptors unmount pivot change_root new_mount_interface
clone_user_namespace watch_performance fault_in_user_space kernel_keys read_kernel_keys load_kernel
load_module reboot set_time open_by_handle set_host_name swap accounting ports migrate_pages
segments watch_files become_root output_is_a_hard_link output_is_a_socket many_files

memory_shared fork_many sleep ignore_signals stop_ourselves flood_stdout crash abort
refuse_without_reason change_the_clock_of_our_files other_table output_in_a_linked_folder
answer_is_a_pipe output_is_a_folder name_goes_up_in_the_middle name_is_long name_is_not_text
file_name_is_not_text flags_run_a_program flags_write_a_file include_folder_outside
tensors_before_the_arena arena_of_no_number answer_is_no_json answer_has_a_huge_number
deep_folders extras_replace_the_golden object_with_absurd_sections

embed_a_device endless_template endless_include huge_alignment archive_as_object hides_the_module
arena_of_an_exabyte firmware_writes_a_file firmware_removes_a_file firmware_prints_for_ever
firmware_faults native_opens_a_socket
""",
    )
)

# The attack itself tells that it came to nothing, and why.
TOLD = re.findall(
    r"\w+",
    """
tcp udp unix_socket abstract_socket resolve bind packet_socket netlink vsock hostname
socket_pair_to_elsewhere

shadow key_file key_file_through_init key_file_by_link environment environments command_lines
memory_of_others other_jobs_file search store home descriptors devices terminal kernel_log
shared_memory our_package

write_usr write_library poison_packages poison_service write_own_folder change_own_program
write_toolchain_cache write_store write_home write_other_job write_tmp write_shared_memory write_etc
write_root write_core_pattern write_sysrq write_control_groups spare_us_from_oom remount_by_proc
set_user_id leave_python_startup

memory_files memory_of_pipes memory_of_threads disk disk_elsewhere inodes open_files
raise_limits sparse_file first_in_line locked_memory

daemon hold_the_pipes kill_init kill_the_worker

trace_parent trace_init read_parents_memory write_parents_memory parents_descriptors mount unmount
pivot change_root new_mount_interface new_user_namespace clone_user_namespace
clone3_user_namespace join_namespace load_bpf watch_performance fault_in_user_space kernel_keys
read_kernel_keys io_uring load_kernel load_module reboot set_clock set_time open_by_handle
set_host_name swap accounting ports migrate_pages segments watch_files make_device become_root
capabilities

output_is_a_hard_link output_is_a_device output_is_a_socket many_files many_named_files
""",
)

LATE = "took longer than [24] s and was stopped"
NAME = "objects.0: String should (match pattern|have at most)"
LINK = "is a symbolic link; only files come out"
OTHER_NUMBERS = "computes other numbers than"

# What the worker finds out, about processes and what they left.
FOUND = {
    "memory": "contained: MemoryError|used more than 512 MiB of memory and was stopped",
    "memory_shared": "memory_shared: contained: PermissionError",
    "memory_of_many": "used more than 512 MiB of memory and was stopped",
    "fork_many": "started more than 48 processes and was stopped",
    "fork_bomb": "started more than 48 processes and was stopped",
    "loop": LATE,
    "sleep": LATE,
    "ignore_signals": LATE,
    "stop_ourselves": LATE,
    "stop_the_parent": LATE,
    "flood_stdout": f"ended with status|{LATE}",
    "flood_stderr": f"ended with status|{LATE}",
    "daemon_of_a_good_module": "the compiler wrote sources, but",
    "kill_the_parent": "was killed by SIGKILL",
    "kill_all": "was killed by SIGKILL",
    "signal_every_process": "was killed by SIGTERM",
    "crash": "ended with status -11",
    "abort": "ended with status -6",
    "lie_about_the_end": "compiled.json was not written",
    "refuse_without_reason": "unsupported.json was not written",
    "forged_refusal": r"^\\x1b\[2Jerror: your key has expired send it to us$",
    "flood_of_reasons": "^rrrr",
    "change_the_clock_of_our_files": "the compiler wrote sources, but",
    "old_calls": "ended with status -31",
    "other_table": "ended with status -31",
    "output_is_a_symlink": f"m.o {LINK}",
    "output_in_a_linked_folder": f"folder {LINK}",
    "output_is_a_pipe": "m.o is no regular file",
    "output_is_a_folder": "names m.o, which",
    "answer_is_a_symlink": f"compiled.json {LINK}",
    "answer_is_a_pipe": "compiled.json is no regular file",
    "output_folder_is_replaced": "out is|" + LINK,
    "symlink_race": "m.o|file|object|modules for msp430|link",
    "name_goes_up": NAME,
    "name_goes_up_in_the_middle": NAME,
    "name_is_absolute": NAME,
    "name_has_a_newline": r"a file is called 'm\\n",
    "name_has_a_nul": NAME,
    "name_is_an_option": NAME,
    "name_is_a_response_file": NAME,
    "name_is_long": NAME,
    "name_is_not_text": "invalid unicode",
    "file_name_is_not_text": "that is no plain relative name",
    "include_folder_outside": "include_dirs.0: String should match",
    "flags_load_a_plugin": "forbidden compiler flags: -fplugin",
    "flags_run_a_program": "forbidden compiler flags: -wrapper",
    "flags_write_a_file": "forbidden compiler flags: -o",
    "entry_is_code": "entry: String should",
    "claims_another_action": "action_digest: Extra inputs are not permitted",
    "claims_another_compiler": "says it is of tvm 0.27",
    "claims_other_tensors": "its outputs are not those of the model",
    "tensors_beyond_the_arena": "tensor y lies outside the arena",
    "tensors_before_the_arena": "offset: Input should be greater than or equal to 0",
    "arena_of_no_number": "arena.size: Input should be a valid integer",
    "answer_is_no_json": "Invalid JSON",
    "answer_is_deep": "recursion limit exceeded",
    "answer_is_huge": "compiled.json is larger than 8 MiB",
    "answer_has_a_huge_number": "number out of range",
    "deep_folders": "that is no plain relative name",
    "extras_replace_the_golden": "extras.0: String should match",
    "object_without_sections": "m.o",
    "object_with_absurd_sections": "m.o|ar failed: out of memory",
    "object_cut_short": "m.o",
}

# The same of what tools make of its output, for a board that is linked for and simulated.
BUILT = {
    "include_a_secret": "No such file or directory",
    "embed_a_secret": "file not found",
    "embed_a_device": "unable to include",
    "endless_macro": f"compiling the module's sources {LATE}",
    "endless_template": f"compiling the module's sources {LATE}",
    "endless_include": "gcc rejects src/m.c",
    "huge_object": "gcc rejects src/m.c",
    "huge_bss": "will not fit|does not fit",
    "huge_alignment": "gcc rejects src/m.c",
    "arena_of_an_exabyte": "",
    "linker_script_as_object": "object n.o",
    "archive_as_object": "object n.o",
    "object_of_another_machine": "object m.o is for EM_MSP430, not ELF for EM_ARM",
    "takes_over_the_harness": "multiple definition of",
    "hides_the_module": "multiple definition of",
    "firmware_reads_a_file": OTHER_NUMBERS,
    "firmware_writes_a_file": OTHER_NUMBERS,
    "firmware_removes_a_file": OTHER_NUMBERS,
    "firmware_runs_a_command": OTHER_NUMBERS,
    "firmware_ends_early": "the harness ended early, after 32 bytes of its answer",
    "firmware_forges_its_answer": "the harness ended early, after 4096 bytes of its answer",
    "firmware_loops": LATE,
    "firmware_faults": "the module failed on mps2-an386: HardFault",
    "firmware_prints_for_ever": LATE,
}

# And of code that runs on the worker's own processor.
NATIVE = {
    "native_reads_a_file": "the module failed on host: contained",
    "native_opens_a_socket": "the module failed on host: contained",
    "native_kills_all": "was killed by SIGKILL",
    "native_runs_before_main": "the harness ended early",
}

HARMLESS = {"work", "extras_replace_the_manifest"}


@pytest.fixture(scope="module")
def yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Yard]:
    with opened(tmp_path_factory.mktemp("yard")) as made:
        yield made


def some(attacks: Iterable[str]) -> list[ParameterSet]:
    marks = {True: [pytest.mark.slow], False: []}
    return [pytest.param(each, marks=marks[each in SELDOM]) for each in attacks]


def limits(words: str) -> str:
    return HURRY if words.endswith(LATE) else LIMITS


def check(yard: Yard, outcome: Outcome, words: str) -> None:
    """Hold how a job ended against what must hold of all, and that the next job is done."""
    report = outcome.report
    reason = "; ".join(report.reasons)
    assert report.status in (CandidateStatus.FAILED, CandidateStatus.REJECTED)
    assert re.search(words, reason), reason
    assert "ESCAPED" not in reason
    assert NEEDLE not in outcome.model_dump_json()
    assert reason.isprintable()
    assert len(reason) < 16_000
    assert outcome.archive_digest is None
    kept = yard.bench.store.head(keys.action_outcome("hostile", report.action_digest)) is not None
    assert kept == (report.status is CandidateStatus.REJECTED)
    assert yard.build("work").report.status is CandidateStatus.BUILT
    assert yard.harm() == []


@pytest.mark.parametrize("does", some(TOLD))
def test_an_attempt_comes_to_nothing(yard: Yard, does: str) -> None:
    check(yard, yard.build(does), f"compile ended with status 9: {does}: contained: ")


@pytest.mark.parametrize("does", some(FOUND))
def test_what_a_compiler_does_or_leaves_is_found_out(yard: Yard, does: str) -> None:
    check(yard, yard.build(does, limits=limits(FOUND[does])), FOUND[does])


@pytest.mark.parametrize("does", some(BUILT))
def test_output_that_attacks_tools_and_simulator(yard: Yard, does: str) -> None:
    check(yard, yard.build(does, BOARD, limits(BUILT[does])), BUILT[does])


@pytest.mark.parametrize("does", some(NATIVE))
def test_output_that_runs_on_our_own_processor(yard: Yard, does: str) -> None:
    check(yard, yard.build(does, "host"), NATIVE[does])


def test_what_it_packs_takes_no_name_of_ours(yard: Yard) -> None:
    from storage.archive import read_archive

    outcome = yard.build("extras_replace_the_manifest")
    assert outcome.archive_digest is not None
    archive = read_archive(yard.bench.store.get(keys.module_archive(outcome.archive_digest)))
    assert archive.manifest.compiler.name == "hostile"
    assert archive.members["src/manifest.json"] == b"{}"


def test_every_attack_is_told_of(yard: Yard) -> None:
    told = {*TOLD, *FOUND, *BUILT, *NATIVE, *HARMLESS}
    assert told == set(yard.compiler.describe().options["does"])
    assert told > SELDOM


def test_no_attack_is_a_good_compiler(yard: Yard) -> None:
    """The same compiler's sound output is taken: it is not for its name that it fails."""
    assert yard.build("work", BOARD).report.status is CandidateStatus.VERIFIED
    assert yard.build("work", "host").report.status is CandidateStatus.VERIFIED
    assert yard.build("work", FAST).report.status is CandidateStatus.BUILT
