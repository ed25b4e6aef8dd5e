"""ELF headers: real programs, and what is none."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nixadmin.errors import NixadminError
from nixadmin.host.elf import Elf, parse_elf, read_elf

STATIC = Path("/bin/bash-static")
DYNAMIC = Path("/bin/bash")
X86 = "x86_64"


def test_a_static_program() -> None:
    elf = read_elf(STATIC)
    assert elf.static
    assert (elf.interpreter, elf.needed) == (None, ())
    assert elf.machine == os.uname().machine


def test_a_dynamic_program_names_what_it_needs() -> None:
    elf = read_elf(DYNAMIC)
    assert not elf.static
    assert elf.interpreter and Path(elf.interpreter).exists()
    assert any(name.startswith("libc.so") for name in elf.needed)


@pytest.mark.parametrize("flag", ["-static", "-static-pie", "-pie", "-no-pie"])
def test_what_a_compiler_makes(tmp_path: Path, flag: str) -> None:
    if not shutil.which("gcc"):
        pytest.skip("needs gcc")
    (tmp_path / "a.c").write_text("int main(void) { return 0; }\n")
    subprocess.run(["gcc", flag, "-o", "a", "a.c"], cwd=tmp_path, check=True)
    assert read_elf(tmp_path / "a").static == flag.startswith("-static")
    # The section headers are for debuggers: without them it runs, and reads, all the same.
    content = bytearray((tmp_path / "a").read_bytes())
    content[40:48] = bytes(8)
    content[58:64] = bytes(6)
    assert parse_elf(bytes(content), tmp_path / "a").static == flag.startswith("-static")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"#!/bin/sh\n", "a script"),
        (b"hello, world\n", "not an ELF program"),
        (b"\x7fEL", "not an ELF program"),
        (b"\x7fELF", "damaged"),
        (STATIC.read_bytes()[:64], "damaged"),
        (STATIC.read_bytes()[:1000], "damaged"),
        (STATIC.read_bytes()[:-2_000_000], "damaged"),
    ],
)
def test_what_is_no_program(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(NixadminError, match=words) as told:
        read_elf(tmp_path / "x")
    assert told.value.hint


def changed(at: int, value: bytes) -> bytes:
    content = bytearray(STATIC.read_bytes())
    content[at : at + len(value)] = value
    return bytes(content)


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (18, struct.pack("<H", 183), "for aarch64"),
        (16, struct.pack("<H", 1), "not a program"),  # an object file
        (24, bytes(8), "not a program"),  # nowhere to start
        (32, struct.pack("<Q", 2**64 - 1), "damaged"),  # segments beyond the end
        (56, struct.pack("<H", 0xFFFF), "damaged"),  # segments without end
        (56, struct.pack("<H", 0), "damaged"),  # none
        (4, b"\x07", "damaged"),  # of no known size
    ],
)
def test_a_wrong_header(at: int, value: bytes, words: str) -> None:
    with pytest.raises(NixadminError, match=words):
        parse_elf(changed(at, value), STATIC, X86)


def test_the_machine_that_is_to_run_it() -> None:
    content = STATIC.read_bytes()
    with pytest.raises(NixadminError, match="and this host is riscv64"):
        parse_elf(content, STATIC, "riscv64")
    assert parse_elf(changed(18, struct.pack("<H", 40)), STATIC, "aarch64").machine == "armv7l"
    assert parse_elf(content, STATIC, "a machine of the future").static


def test_what_is_not_even_a_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, words in [(tmp_path, "not a regular"), (tmp_path / "fifo", "not a regular"), (tmp_path / "x", "No such")]:
        with pytest.raises(NixadminError, match=words):
            read_elf(path)


HEAD = DYNAMIC.read_bytes()


@settings(max_examples=400, deadline=2000)
@given(st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=12), st.integers(0, len(HEAD)))
def test_no_damage_leads_astray(damage: list[tuple[int, int]], length: int) -> None:
    content = bytearray(HEAD)
    for at, value in damage:
        content[at] = value
    try:
        elf = parse_elf(bytes(content[:length] if length % 3 else content), DYNAMIC)
    except NixadminError:
        return
    assert isinstance(elf, Elf)


@settings(max_examples=200, deadline=2000)
@given(st.binary(max_size=400))
def test_no_noise_leads_astray(noise: bytes) -> None:
    with pytest.raises(NixadminError):
        parse_elf(b"\x7fELF" + noise, DYNAMIC)


@pytest.mark.parametrize("name", ["bash", "bash-static", "busybox", "mount", "nix", "su"])
def test_pyelftools_reads_the_same(name: str) -> None:
    """Another reader of the same headers, by way of the section headers, as a witness."""
    from elftools.elf.dynamic import DynamicSection
    from elftools.elf.elffile import ELFFile

    path = Path(shutil.which(name) or f"/bin/{name}")
    if not path.exists():
        pytest.skip(f"needs {name}")
    with path.resolve().open("rb") as file:
        theirs = ELFFile(file)
        section = theirs.get_section_by_name(".dynamic")
        tags = section.iter_tags() if isinstance(section, DynamicSection) else ()
        needed = tuple(vars(tag)["needed"] for tag in tags if tag.entry.d_tag == "DT_NEEDED")
        named = theirs.get_section_by_name(".interp")
        interpreter = named.data().rstrip(b"\0").decode() if named else None
        bits = theirs.elfclass
    ours = read_elf(path)
    assert (ours.needed, ours.interpreter, ours.bits) == (needed, interpreter, bits)


def test_elftools_is_not_loaded_before_it_is_needed() -> None:
    source = "import sys, nixadmin.host.elf, nixadmin.sandbox.shell; assert 'elftools' not in sys.modules"
    subprocess.run([sys.executable, "-c", source], check=True)
