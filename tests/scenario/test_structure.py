"""The shape of the tree, held by tests: who links what, what is pure, documents that follow tables."""

import re
import shutil
import subprocess

import pytest

from harness import BIN, ROOT

IO_HEADERS = re.compile(
    r'#\s*include\s*[<"](sqlite3\.h|nng/|microhttpd\.h|curl/|unistd\.h|time\.h|fcntl\.h|sys/|dirent\.h|'
    r'pthread\.h|signal\.h|poll\.h|spawn\.h|lib/(file|lock|process|clock)\.h|protocol/bus\.h)')
FOLDERS = ("lib", "protocol", "supervisor", "services", "tools")


def sources():
    for folder in FOLDERS:
        yield from (path for path in (ROOT / folder).rglob("*.[ch]"))


@pytest.mark.skipif(not shutil.which("nm"), reason="nm (binutils) is not installed")
def test_sqlite_in_ingress_and_scheduler_alone():
    """Mutation: opening the database in any other service shows here."""
    linked = set()
    for program in sorted(BIN.iterdir()):
        symbols = subprocess.run(["nm", "-D", "--undefined-only", program], capture_output=True,
                                 text=True, check=True).stdout
        if "sqlite3_" in symbols:
            linked.add(program.name)
    assert linked == {"orch-ingress", "orch-scheduler"}


@pytest.mark.skipif(not shutil.which("nm"), reason="nm (binutils) is not installed")
def test_supervisor_speaks_to_nobody():
    symbols = subprocess.run(["nm", "-D", "--undefined-only", BIN / "orchestrator"],
                             capture_output=True, text=True, check=True).stdout
    for word in ("nng_", "sqlite3_", "pthread_create", "curl_"):
        assert word not in symbols


@pytest.mark.skipif(not shutil.which("nm"), reason="nm (binutils) is not installed")
def test_no_service_closes_a_socket_of_nng():
    """nng 1.5.2's nng_close may never return (ADR 0004)."""
    for program in sorted(BIN.iterdir()):
        symbols = subprocess.run(["nm", "-D", "--undefined-only", program], capture_output=True,
                                 text=True, check=True).stdout
        assert "nng_close" not in symbols, program.name


def test_pure_files_include_no_io():
    pure = [path for path in sources() if "PURE: no I/O" in path.read_text()[:200]]
    assert len(pure) > 20
    wrong = [f"{path.relative_to(ROOT)}: {line.strip()}" for path in pure
             for line in path.read_text().splitlines() if IO_HEADERS.match(line)]
    assert not wrong, wrong


@pytest.mark.parametrize("name", ["configuration", "protocol"])
def test_documents_follow_their_tables(name):
    tool = BIN.parent / "tool/docs"
    text = subprocess.run([tool, name], capture_output=True, text=True, check=True).stdout
    assert text == (ROOT / f"docs/{name}.md").read_text(), "run make docs"


def test_crash_points_are_all_passed_somewhere():
    names = re.findall(r"^CRASH_POINT\((\w+),", (ROOT / "lib/crash_points.def").read_text(),
                       re.MULTILINE)
    code = "\n".join(path.read_text() for path in sources())
    assert not [name for name in names if not re.search(rf"\bCRASH_{name}\b", code)]


def elf(program, *what):
    return subprocess.run(["readelf", "-W", *what, program], capture_output=True, text=True,
                          check=True).stdout


def missing_hardening(program):
    """Names of what this program lacks."""
    head, dynamic, segments, symbols = (elf(program, what) for what in ("-h", "-d", "-l", "--dyn-syms"))
    if re.search(r"__(asan|tsan|ubsan)_\w+", symbols):
        pytest.skip("a sanitizer build")
    found = {
        "PIE": "DYN (" in head and re.search(r"FLAGS_1\).*\bPIE\b", dynamic),
        "RELRO": "GNU_RELRO" in segments,
        "bind now": re.search(r"FLAGS_1\).*\bNOW\b", dynamic),
        "stack without execution": re.search(r"GNU_STACK.* RW +0x", segments),
        "stack protector": "__stack_chk_fail" in symbols,
        "FORTIFY": re.search(r"\b__\w+printf_chk\b", symbols),
    }
    return [name for name, there in found.items() if not there]


@pytest.mark.skipif(not shutil.which("readelf"), reason="readelf (binutils) is not installed")
def test_programs_are_hardened():
    """Mutations: each of -pie, -z relro, -z now, -fstack-protector-strong, _FORTIFY_SOURCE taken out of
    the Makefile."""
    wrong = {program.name: missing for program in sorted(BIN.iterdir())
             if (missing := missing_hardening(program))}
    assert not wrong
