"""Which shell the sandbox gets, and how it is shown there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nixadmin.errors import NixadminError
from nixadmin.host import Host
from nixadmin.sandbox.paths import SandboxPath, rows, sandbox_paths
from nixadmin.sandbox.shell import DIRECTORY, Shell, find_shell, prove
from tests import room as rooms
from tests.room import Room

STATIC = Path("/bin/bash-static")
BUSYBOX = Path("/bin/busybox")
DIGEST = "0123456789abcdfghijklmnpqrsvwxyz"
PROMISED = Path(f"/nix/store/{DIGEST}-bash-static-5.2.15")

needs_root = pytest.mark.skipif(not rooms.is_possible(), reason="needs root")


@pytest.fixture
def host(tmp_path: Path) -> Host:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "etc").mkdir()
    return Host(tmp_path)


def put(host: Host, source: Path, path: str, mode: int = 0o755) -> Path:
    place = host.at(Path(path))
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, place)
    place.chmod(mode)
    return Path(path)


def refused(host: Host, wanted: str, words: str) -> None:
    with pytest.raises(NixadminError, match=words) as told:
        find_shell(host, wanted)
    assert told.value.hint


def test_debians_static_bash_goes_first(host: Host) -> None:
    put(host, STATIC, "/usr/bin/bash-static")
    put(host, STATIC, "/usr/local/bin/bash")
    put(host, BUSYBOX, "/usr/bin/busybox")
    shell = find_shell(host, store_candidates=[PROMISED])
    assert (shell.source, shell.kind, shell.warning) == (Path("/bin/bash-static"), "static-bash", None)
    assert shell.version[0].isdigit() and shell.reason
    assert shell.copy == DIRECTORY / "bash"
    assert shell.sha256 and len(shell.sha256) == 64
    assert find_shell(host) == shell  # a second run must have nothing to change


def test_then_the_copy_that_is_installed(host: Host) -> None:
    put(host, STATIC, str(DIRECTORY / "bash"))
    put(host, STATIC, "/usr/local/bin/bash")
    assert find_shell(host).source == DIRECTORY / "bash" == find_shell(host).copy


def test_then_any_static_bash_on_path(host: Host) -> None:
    put(host, Path("/bin/bash"), "/usr/bin/bash")
    put(host, STATIC, "/usr/local/bin/bash")
    assert find_shell(host).source == Path("/usr/local/bin/bash")


def test_then_one_of_the_store_there_or_promised(host: Host) -> None:
    put(host, BUSYBOX, "/usr/bin/busybox")
    promised = find_shell(host, store_candidates=[Path(f"/nix/store/{DIGEST}-hello-1"), PROMISED])
    assert promised == Shell(
        PROMISED / "bin/bash", "static-bash", "5.2.15", promised.reason, closure=(PROMISED,), promised=True
    )
    assert promised.copy is None
    with pytest.raises(NixadminError, match="does not exist"):
        prove(host, promised)
    put(host, STATIC, str(PROMISED / "bin/bash"))
    proved = prove(host, promised)
    assert not proved.promised and proved.sha256 and proved.closure == (PROMISED,)
    assert find_shell(host).source == PROMISED / "bin/bash"  # found without being offered, too
    assert find_shell(host, str(PROMISED / "bin/bash")).kind == "static-bash"


def test_a_promise_that_was_not_kept(host: Host) -> None:
    promised = find_shell(host, store_candidates=[PROMISED])
    put(host, Path("/bin/bash"), str(PROMISED / "bin/bash"))
    with pytest.raises(NixadminError, match="is not static: it needs /lib64"):
        prove(host, promised)


def test_a_wanted_promise(host: Host) -> None:
    assert find_shell(host, str(PROMISED / "bin/sh"), [PROMISED]).promised
    refused(host, str(PROMISED / "bin/sh"), "does not exist")


def test_the_newest_of_the_store_goes_first(host: Host) -> None:
    for version in ("5.2", "5.10", "5.9"):
        put(host, STATIC, f"/nix/store/{DIGEST}-bash-static-{version}/bin/bash")
    assert "5.10" in str(find_shell(host).source)


def test_then_busybox_with_a_warning(host: Host) -> None:
    put(host, BUSYBOX, "/usr/bin/busybox")
    put(host, Path("/bin/bash"), "/usr/bin/bash")
    shell = find_shell(host)
    assert (shell.kind, shell.copy) == ("static-busybox", DIRECTORY / "busybox")
    assert shell.warning and "not bash" in shell.warning
    assert shell.version.startswith("1.")


def test_nothing_is_there(host: Host) -> None:
    put(host, Path("/bin/bash"), "/usr/bin/bash")
    with pytest.raises(NixadminError, match="no shell for the build sandbox") as told:
        find_shell(host)
    assert told.value.hint and "bash-static" in told.value.hint


def test_a_wanted_shell_that_will_not_do(host: Host) -> None:
    put(host, STATIC, "/opt/good")
    assert find_shell(host, "/opt/good").reason == "it was asked for"
    put(host, STATIC, "/usr/bin/bash-static")
    refused(host, "/opt/none", "does not exist")
    refused(host, "bash", "not an absolute path")
    refused(host, "/opt/../opt/good", "not an absolute path")
    refused(host, str(put(host, Path("/bin/bash"), "/opt/dynamic")), "it needs /lib64/ld.*libc.so.6")
    refused(host, str(put(host, Path("/bin/mv"), "/opt/mv")), "is not static")
    refused(host, str(put(host, BUSYBOX, "/opt/sh")), "neither bash nor a busybox")
    refused(host, str(put(host, Path("/etc/passwd"), "/opt/text")), "not an ELF program")
    refused(host, str(put(host, STATIC, "/opt/open", 0o777)), "others than root can write")
    refused(host, str(put(host, STATIC, "/opt/dead", 0o644)), "not executable")
    refused(host, "/opt", "is a directory")
    host.at(Path("/opt/loop")).symlink_to("loop")
    refused(host, "/opt/loop", "[Tt]oo many levels")


def test_a_link_leads_to_the_program_in_the_same_root(host: Host) -> None:
    put(host, STATIC, "/opt/real/bash")
    host.at(Path("/usr/bin/bash-static")).symlink_to("/opt/real/bash")
    assert find_shell(host).source == Path("/opt/real/bash")


@needs_root
def test_a_program_of_another_user_is_passed_over(host: Host) -> None:
    put(host, STATIC, "/usr/bin/bash-static")
    put(host, STATIC, "/usr/local/bin/bash")
    os.chown(host.at(Path("/usr/bin/bash-static")), 1234, 1234)
    assert find_shell(host).source == Path("/usr/local/bin/bash")
    refused(host, "/usr/bin/bash-static", "belongs to uid 1234")


@needs_root
def test_what_is_found_runs_where_nothing_else_is(tmp_path: Path) -> None:
    shell = find_shell(Host())
    assert not shell.source.is_symlink()
    shutil.copy(shell.source, tmp_path / "sh")
    done = subprocess.run(["chroot", tmp_path, "/sh", "-c", "echo $BASH_VERSION"], capture_output=True, check=True)
    assert done.stdout.decode().strip() == shell.version


# --- how it is shown ---


def test_a_copied_shell_is_one_entry() -> None:
    shell = Shell(STATIC, "static-bash", "5.2", "Debian's", "0" * 64)
    (entry,) = sandbox_paths(shell)
    assert str(entry) == f"/bin/sh={DIRECTORY}/bash"
    ((target, source, reason),) = rows([entry])
    assert (target, source) == ("/bin/sh", f"{DIRECTORY}/bash")
    assert "static" in reason and str(STATIC) in reason


def test_a_shell_of_the_store_brings_its_closure() -> None:
    bash, glibc = (Path(f"/nix/store/{DIGEST}-{name}") for name in ("bash-5.2", "glibc-2.38"))
    shell = Shell(bash / "bin/bash", "store-bash", "5.2", "", closure=(bash, glibc))
    assert [str(entry) for entry in sandbox_paths(shell)] == [f"/bin/sh={bash}/bin/bash", str(bash), str(glibc)]


def test_what_the_administrator_adds() -> None:
    shell = Shell(STATIC, "static-bash", "5.2", "", "0" * 64)
    added = ["/dev/kvm?", "/etc/certs=/srv/certs", "/dev/kvm?"]
    assert [str(entry) for entry in sandbox_paths(shell, added)][1:] == ["/dev/kvm?", "/etc/certs=/srv/certs"]


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "?",
        "relative",
        "/a=b",
        "/a=/b=/c",
        "/a b",
        "/a\nsandbox = false",
        "/a=/b#c",
        "/../a",
        "/a=/b/../c",
        "/a??",
        "/",
        "/proc",
        "/nix/store",
        "/build",
        "/dev=/dev",
        "/bin/sh=/bin/bash",
    ],
)
def test_what_nix_would_read_otherwise(entry: str) -> None:
    with pytest.raises(NixadminError) as told:
        sandbox_paths(Shell(STATIC, "static-bash", "5.2", "", "0" * 64), [entry])
    assert told.value.hint


def test_an_entry_reads_as_it_is_written() -> None:
    for text in ("/a", "/a?", "/a=/b", "/a=/b?"):
        assert str(SandboxPath.parse(text, "")) == text


# --- a bash of the store, with a real store ---


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    with rooms.enter(tmp_path_factory.mktemp("room")) as room:
        room.configure()
        yield room


@needs_root
@pytest.mark.ring(4)
def test_a_bash_of_the_store_with_its_closure(room: Room) -> None:
    """The host's own bash and libraries, as two store paths of which the one needs the other."""
    room.run(
        "sh",
        "-c",
        r"""
set -eu
export NIX_REMOTE=local
mkdir -p /tmp/libs/lib /tmp/bash/bin
cp -L $(ldd /bin/bash | grep -o '/[^ ]*') /tmp/libs/lib/
mv /tmp/libs /tmp/glibc-2; libs=$(nix-store --add /tmp/glibc-2)
cp /bin/bash /tmp/bash/bin/bash
patchelf --set-interpreter $libs/lib/ld-linux-x86-64.so.2 --set-rpath $libs/lib /tmp/bash/bin/bash
dump=$(nix-store --dump /tmp/bash | sha256sum | cut -d' ' -f1)
size=$(nix-store --dump /tmp/bash | wc -c)
path=/nix/store/0123456789abcdfghijklmnpqrsvwxyz-bash-5.2
cp -r /tmp/bash $path
printf '%s\n%s\n%s\n\n1\n%s\n' $path $dump $size $libs | nix-store --load-db
rm /bin/bash-static /usr/local/lib/nixadmin/sandbox/bash
mv /bin/busybox /bin/hidden
""",
    )
    told = room.python("""
import json
from pathlib import Path
from nixadmin.host import Host
from nixadmin.sandbox.paths import sandbox_paths
from nixadmin.sandbox.shell import find_shell, prove
host = Host()
shell = find_shell(host)
assert prove(host, shell).closure == shell.closure
text = Path("/etc/nix/nix.conf").read_text()
paths = " ".join(map(str, sandbox_paths(shell)))
Path("/etc/nix/nix.conf").write_text(text.replace("/bin/sh=/usr/local/lib/nixadmin/sandbox/bash", paths))
print(json.dumps([shell.kind, sorted(path.name[33:] for path in shell.closure)]))
""")
    assert told == ["store-bash", ["bash-5.2", "glibc-2"]]
    room.restart()
    wrong = room.python("""
import json
from pathlib import Path
from nixadmin.host import Host
from nixadmin.sandbox.probe import probe
from nixadmin.sandbox.shell import find_shell
host = Host()
found = probe(host, Path("/usr/bin"), {30001, 30002}, (), find_shell(host))
print(json.dumps([f"{each.name}: {each.saw}" for each in found if not each.ok]))
""")
    assert wrong == []
