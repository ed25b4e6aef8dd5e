"""Templates, and the quoting of what enters them."""

import configparser
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from nixadmin.errors import NixadminError
from nixadmin.nix.version import parse
from nixadmin.templates import conf, default_file, render, shell, systemd, variable

BREAKING = ["\n", "\r", "\0", "\x1b", "\x85", "\u2028", "\ud800", "\x7f", "\t"]


@pytest.mark.parametrize("quote", [systemd, shell, default_file, conf])
@pytest.mark.parametrize("character", BREAKING)
def test_no_value_ends_its_line(quote: object, character: str) -> None:
    with pytest.raises(NixadminError):
        quote(f"/a{character}ExecStart=/b")  # type: ignore[operator]


@pytest.mark.parametrize("character", " '\"\\$`;#&|<>()*?[]{}!é")
def test_a_unit_takes_plain_characters_only(character: str) -> None:
    with pytest.raises(NixadminError, match="need quotes"):
        systemd(f"/a{character}b")


def test_a_unit_has_specifiers() -> None:
    assert systemd("/nix-2.8/a_b+c:d@e,f=g~/100%i") == "/nix-2.8/a_b+c:d@e,f=g~/100%%i"


def test_nix_conf_has_no_quotes() -> None:
    assert conf("ssh://a?b='c' \"$d\" é") == "ssh://a?b='c' \"$d\" é"
    with pytest.raises(NixadminError, match="holds a #"):
        conf("a#b")


@pytest.mark.parametrize("name", ["", "a-b", "1a", "a=b", "a b", "a\n", "é", "a\nb=c"])
def test_names_of_variables(name: str) -> None:
    assert variable("http_proxy") == "http_proxy"
    with pytest.raises(NixadminError, match="not the name"):
        variable(name)


@pytest.mark.parametrize("character", "'\\")
def test_what_the_environment_file_cannot_say(character: str) -> None:
    with pytest.raises(NixadminError, match="do not read alike"):
        default_file(f"http://a:{character}@b")


PRINTABLE = st.text(st.characters().filter(str.isprintable), max_size=30)


@settings(deadline=None, max_examples=60)
@given(PRINTABLE)
@example("-n")
@example("$(touch x) `id` ${HOME} ~ * 'a' \"b\" \\ !!")
def test_a_shell_gets_the_value_back(value: str) -> None:
    for argv in (["dash"], ["bash", "--posix"], ["busybox", "ash"], ["zsh", "-f"]):
        said = subprocess.run([*argv, "-c", f"printf '%s.' {shell(value)}"], capture_output=True, check=True).stdout
        assert said.decode() == f"{value}."


# What systemd itself reads EnvironmentFile= with, in a process of its own: libsystemd's own function.
READ_BY_SYSTEMD = """
import ctypes, glob, sys
library = ctypes.CDLL(glob.glob("/usr/lib/*/systemd/libsystemd-shared-*.so")[0])
strings = ctypes.POINTER(ctypes.c_char_p)()
code = library.load_env_file(None, sys.argv[1].encode(), ctypes.byref(strings))
assert code >= 0, code
found = []
while strings and strings[len(found)] is not None:
    found.append(strings[len(found)])
sys.stdout.buffer.write(b"\\0".join(found))
"""


@settings(deadline=None, max_examples=40)
@given(st.lists(PRINTABLE.filter(lambda text: not set(text) & {"'", "\\"}), max_size=4))
@example(["http://user:p%40ss@proxy.test:3128/", "*.local,10.0.0.0/8 ;#", '"$HOME" `id` $(id)', " a ", ""])
def test_sh_and_systemd_read_the_environment_file_alike(values: list[str]) -> None:
    wanted = {f"v{number}": value for number, value in enumerate(values)}
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "default"
        file.write_text(render("nix-daemon.default.j2", environment=wanted))
        readings: list[list[str | Path]] = [[sys.executable, "-c", READ_BY_SYSTEMD, file]]
        for prefix in (["dash"], ["busybox", "ash"]):
            readings.append([*prefix, "-c", 'set -a; . "$0"; exec /usr/bin/env -0', file])
        for argv in readings:
            said = subprocess.run(argv, capture_output=True, check=True, env={}).stdout.decode()
            pairs = (pair.partition("=") for pair in said.split("\0"))
            assert {name: value for name, _, value in pairs if name.startswith("v")} == wanted


def test_a_forgotten_value_is_a_bug() -> None:
    with pytest.raises(UndefinedError, match="daemon"):
        render("nix-daemon.service.j2", state_dir="/nix/var/nix", store_dir="/nix/store")


def test_a_value_that_would_be_a_directive() -> None:
    with pytest.raises(NixadminError):
        render("nix-daemon.socket.j2", state_dir="/nix\nExecStartPre=/bin/false")
    with pytest.raises(NixadminError):
        render("nix.conf.j2", settings={"builders": "a\nsandbox = false"}, secrets=None)
    with pytest.raises(NixadminError):
        render("nix-daemon.default.j2", environment={"http_proxy": "a'\nLD_PRELOAD=/x"})


def test_nix_conf() -> None:
    text = render("nix.conf.j2", settings={"sandbox": "true", "builders": ""}, secrets="/etc/nix/secret.conf")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert lines == ["sandbox = true", "builders = ", "!include /etc/nix/secret.conf"]
    assert render("nix.conf.j2", settings={"a": "b"}, secrets=None) == "a = b\n"


def test_hashes_in_a_channel_are_no_comment() -> None:
    text = render("profile.sh.j2", version=parse("2.8"), channel="https://x.test/a#b nixpkgs'; reboot '")
    assert "echo 'https://x.test/a#b nixpkgs'\"'\"'; reboot '\"'\"''" in text


def test_files_end_with_one_line_end() -> None:
    unit = render("nix-daemon.socket.j2", state_dir="/nix/var/nix")
    assert unit.endswith("\n") and not unit.endswith("\n\n") and "{" not in unit
    assert configparser.ConfigParser().read_string(unit) is None  # type: ignore[func-returns-value]
