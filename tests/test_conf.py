"""nix.conf: our reading of it against Nix's own, and blocks that come out as they went in."""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from nixadmin.errors import ConflictError, NixadminError
from nixadmin.nix.conf import Entry, Include, effective, find_block, insert_block, load, parse, strip_block

CONF = Path("/etc/nix/nix.conf")


def test_entries() -> None:
    text = "# a comment\n\nsandbox = true # yes\n\tcores\t=  4 \r\n!include more.conf\ninclude /etc/x\nbuilders ="
    assert list(parse(text, CONF)) == [
        Entry("sandbox", "true", 3, CONF),
        Entry("cores", "4", 4, CONF),
        Include(Path("/etc/nix/more.conf"), True, 5, CONF),
        Include(Path("/etc/x"), False, 6, CONF),
        Entry("builders", "", 7, CONF),
    ]


@pytest.mark.parametrize(
    "line", ["cores=4", "cores =4", "cores= 4", "cores 4", "cores", "= 4", "include", "include a b"]
)
def test_what_stops_every_nix_command_is_said_with_its_place(line: str) -> None:
    with pytest.raises(NixadminError, match=rf"^/etc/nix/nix\.conf:2: '{line}' is no line"):
        list(parse(f"cores = 1\n{line}\n", CONF))


def test_includes_are_read_in_their_place() -> None:
    files = {
        CONF: "cores = 1\n!include nothere\n!include secret\ninclude more\nmax-jobs = 1\n",
        Path("/etc/nix/more"): "cores = 2\nmax-jobs = 2\n",
    }
    assert effective(load(CONF, reader(files))) == {"cores": "2", "max-jobs": "1"}
    with pytest.raises(NixadminError, match=r"nix\.conf:1: /etc/nix/nothere is missing"):
        list(load(CONF, reader({CONF: "include nothere"})))
    with pytest.raises(NixadminError, match="includes itself"):
        list(load(CONF, reader({CONF: "include x/../nix.conf", Path("/etc/nix/x/../nix.conf"): "include nix.conf"})))


def test_what_is_appended() -> None:
    text = "trusted-users = root\nextra-trusted-users = al\nextra-allowed-users = bob\nextra-platforms = a\n"
    wanted = {"trusted-users": "root al", "extra-allowed-users": "bob", "extra-platforms": "a"}
    assert effective(load(CONF, reader({CONF: text}))) == wanted
    later = text + "extra-binary-caches = b\ntrusted-users = eve\nallowed-users = *\nbuild-max-jobs = 3\n"
    assert effective(load(CONF, reader({CONF: later}))) == {
        "trusted-users": "eve",
        "allowed-users": "*",
        "extra-platforms": "a",
        "extra-substituters": "b",
        "max-jobs": "3",
    }


def reader(files: dict[Path, str]) -> Callable[[Path], str]:
    def read(path: Path) -> str:
        if path.name == "secret":
            raise PermissionError(path)
        try:
            return files[path]
        except KeyError as e:
            raise FileNotFoundError(path) from e

    return read


BLANK = st.sampled_from([" ", "  ", "\t", "\r", " \t ", ""])
NAME = st.sampled_from(
    """user-agent-suffix cores build-cores allowed-users extra-allowed-users trusted-users extra-trusted-users
    extra-cores unknown include !include substituters binary-caches extra-binary-caches extra-substituters""".split()
)
VALUE = st.sampled_from(
    ["", "1", "2", "1 2", "a", "a b", "a=b", "= a", "=", "a#b", "# a", "inc.conf", "nothere", "é", "\f", "a\x0bb"]
)
LINE = st.one_of(
    st.tuples(BLANK, NAME, BLANK, st.sampled_from(["=", "=", "=", "", "=="]), BLANK, VALUE, BLANK).map("".join),
    st.sampled_from(["", "#", "# x = y", "include inc.conf", "!include inc.conf", "!include nothere", "\r", " "]),
)


@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(LINE, max_size=6), st.sampled_from(["\n", "\r\n"]))
@example(["user-agent-suffix = a", "  b = c"], "\n")
@example(["cores = 1", "\ufeffcores = 2"], "\n")
def test_nix_reads_it_the_same(tmp_path: Path, lines: list[str], end: str) -> None:
    (tmp_path / "inc.conf").write_text("user-agent-suffix = included\nextra-trusted-users = included\n")
    conf = tmp_path / "nix.conf"
    conf.write_bytes(end.join(lines).encode())
    try:
        entries = list(load(conf, lambda path: path.read_bytes().decode()))
    except NixadminError:
        assert show_config(tmp_path) is None
        return
    shown = show_config(tmp_path)
    if any(entry.name in ("cores", "build-cores") and not entry.value.isdecimal() for entry in entries):
        assert shown is None  # not the grammar's fault: every value is looked at, also one that a later one replaces
        return
    ours = effective(entries)
    assert shown is not None
    default = {
        "user-agent-suffix": "",
        "allowed-users": "*",
        "trusted-users": "root",
        "substituters": shown["substituters"],
    }
    for name in ("user-agent-suffix", "allowed-users", "trusted-users", "substituters"):
        value = ours.get(name, default[name])
        if name != "substituters" or name in ours:
            assert shown[name].split() == f"{value} {ours.get(f'extra-{name}', '')}".split(), name
    assert shown["cores"] == ours.get("cores", shown["cores"])


def show_config(directory: Path, uid: int = 0) -> dict[str, str] | None:
    """What the real Nix makes of the nix.conf in `directory`; None if it stops."""
    done = subprocess.run(
        ["/usr/bin/nix", "--extra-experimental-features", "nix-command", "show-config"],
        env={
            "HOME": "/nonexistent",
            "NIX_CONF_DIR": str(directory),
            "NIX_USER_CONF_FILES": "",
            "NIX_STORE_DIR": "/nonexistent/store",
            "NIX_STATE_DIR": "/nonexistent/var",
            "NIX_LOG_DIR": "/nonexistent/log",
        },
        capture_output=True,
        check=False,
        user=uid,
        group=uid,
        extra_groups=[],
    )
    if done.returncode:
        return None
    pairs = (line.partition(" =") for line in done.stdout.decode().split("\n"))
    return {name: value.strip(" ") for name, _, value in pairs}


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """One that everybody can reach; pytest's own are for root alone."""
    with tempfile.TemporaryDirectory(prefix="nixadmin-conf-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory)


def test_secrets_may_stand_in_an_included_file_that_only_root_reads(open_directory: Path) -> None:
    secrets = open_directory / "secret.conf"
    secrets.write_text("access-tokens = github.com=x\ncores = 7\n")
    secrets.chmod(0o600)
    (open_directory / "nix.conf").write_text("cores = 3\n!include secret.conf\nuser-agent-suffix = end\n")
    for_root, for_others = show_config(open_directory), show_config(open_directory, uid=65534)
    assert for_root is not None and for_others is not None
    assert (for_root["access-tokens"], for_root["cores"]) == ("github.com=x", "7")
    assert (for_others["access-tokens"], for_others["cores"]) == ("", "3")
    assert for_root["user-agent-suffix"] == for_others["user-agent-suffix"] == "end"


def test_but_not_in_a_directory_that_only_root_may_enter(open_directory: Path) -> None:
    """Why nixadmin's secrets are beside nix.conf: Nix 2.8 drops what follows, later ones drop all of nix.conf."""
    (open_directory / "private").mkdir(mode=0o700)
    (open_directory / "private/secret.conf").write_text("cores = 7\n")
    (open_directory / "nix.conf").write_text("!include private/secret.conf\nuser-agent-suffix = end\n")
    for_others = show_config(open_directory, uid=65534)
    assert for_others is not None and for_others["user-agent-suffix"] == ""


# Text with what could be taken for a marker, and all line ends that some function somewhere splits at.
TEXT = st.lists(
    st.one_of(
        st.text(st.sampled_from("ab \n\r\t#=\x0b\x0c\x1c\x85\u2028\0é"), max_size=8),
        st.sampled_from(["# nixadmin: begin y\n", "# nixadmin: end x\n", "# nixadmin: end x", "# nixadmin: begin x "]),
    ),
    max_size=5,
).map("".join)
LINES = st.lists(st.text(st.sampled_from("ab =#\r\t\x85\u2028"), max_size=6), max_size=3)


@given(TEXT, LINES, TEXT)
@example("", [], "")
@example("a", ["b"], "c")
@example("a\r\n", ["b"], "")
@example("# nixadmin: begin x" * 2 + "\n" * 70000, ["b"] * 3, "")
def test_a_block_comes_out_as_it_went_in(text: str, lines: list[str], after: str) -> None:
    with_block = insert_block(text, "x", lines)
    assert strip_block(with_block, "x") == text
    block = find_block(with_block, "x")
    assert block is not None and block.lines == tuple(line.rstrip("\r") for line in lines)
    # What somebody writes below it stays, on a line of its own.
    separator = "" if text.endswith("\n") or not text or not after else "\n"
    assert strip_block(with_block + after, "x") == text + separator + after


def test_without_a_block_nothing_is_taken_out() -> None:
    assert strip_block("a = b", "x") == "a = b" and find_block("# nixadmin: end x", "x") is None


def test_two_blocks_are_apart() -> None:
    text = insert_block(insert_block("a = b", "x", ["c = d"]), "y", ["e = f"])
    assert strip_block(strip_block(text, "x"), "y").rstrip("\n") == strip_block(strip_block(text, "y"), "x") == "a = b"


def test_an_editor_with_other_line_ends() -> None:
    text = insert_block("a = b\n", "x", ["c = d"]).replace("\n", "\r\n")
    assert strip_block(text, "x") == "a = b\r\n"


@pytest.mark.parametrize(
    "text",
    [
        "# nixadmin: begin x\n",
        "# nixadmin: begin x\n# nixadmin: begin x\n# nixadmin: end x",
        insert_block("", "x", []) * 2,
    ],
)
def test_markers_that_do_not_pair_are_a_conflict(text: str) -> None:
    for function in (find_block, strip_block, lambda text, name: insert_block(text, name, [])):
        with pytest.raises(ConflictError, match="nixadmin: begin x"):
            function(text, "x")
    with pytest.raises(ConflictError, match="already"):
        insert_block(insert_block("", "x", []), "x", [])


@pytest.mark.parametrize("line", ["a\nb", "# nixadmin: end x", "# nixadmin: begin x\r"])
def test_a_line_that_would_not_come_out_again(line: str) -> None:
    with pytest.raises(NixadminError, match="more than one, or a marker"):
        insert_block("", "x", [line])


def test_the_real_nix_is_the_one_that_was_tried() -> None:
    """So that this file proves something: it must not pass because there is no Nix."""
    assert os.access("/usr/bin/nix", os.X_OK)
