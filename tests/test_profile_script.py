"""The login script, sourced by real shells as real users, in homes that nobody would wish for."""

import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nixadmin.nix.version import parse
from nixadmin.templates import render

pytestmark = pytest.mark.ring(2)

# Two ordinary users that every Debian has, and that can do nothing more than any other.
ALICE, BOB = 1, 2
ALICE_NAME, BOB_NAME = "daemon", "bin"
OLD, MIDDLE, NEW = "1.11.16", "2.8.0", "2.34.4"
SHELLS = {
    "dash": ["dash"],
    "bash": ["bash", "--noprofile", "--norc"],
    "bash-posix": ["bash", "--posix"],
    "busybox": ["busybox", "ash"],
    "zsh": ["zsh", "-f"],
    "zsh-sh": ["zsh", "--emulate", "sh"],
} | {name: [name] for name in ("mksh", "ksh93") if shutil.which(name)}
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


@dataclass
class Login:
    """What a shell is left with after the script."""

    env: dict[str, str]
    left: str
    children: int
    err: str

    @property
    def path(self) -> list[str]:
        return self.env["PATH"].split(":")


@dataclass
class Site:
    """A stand-in for /nix/var/nix and for homes, below a directory that everybody may enter."""

    root: Path
    shell: list[str]
    options: dict[str, object] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def default(self) -> str:
        return f"{self.state}/profiles/default"

    @property
    def home(self) -> Path:
        return self.root / "home"

    def own(self, kind: str, name: str = ALICE_NAME) -> Path:
        return self.state / kind / "per-user" / name

    def directory(self, path: Path, uid: int, mode: int = 0o755) -> Path:
        path.mkdir(parents=True)
        path.chmod(mode)
        os.chown(path, uid, uid)
        return path

    def login(
        self,
        version: str = NEW,
        uid: int = ALICE,
        env: Mapping[str, str | None] | None = None,
        before: str = "",
        times: int = 1,
    ) -> Login:
        script = self.root / "nixadmin.sh"
        values = {"state_dir": self.state, "channel": "https://channels.test/stable nixpkgs"} | self.options
        script.write_text(render("profile.sh.j2", version=parse(version), **values))
        given = {"HOME": str(self.home), "USER": ALICE_NAME if uid else "root", "PATH": "/usr/bin:/bin"} | dict(
            env or {}
        )
        done = subprocess.run(
            [
                *(shutil.which(self.shell[0]) or self.shell[0], *self.shell[1:]),
                "-c",
                f"{before}\n"
                + f". '{script}'\n" * times
                + "__code=$?\nIFS=' '\nread -r __stat </proc/$$/stat\n"
                + '/usr/bin/env -0; echo; echo @@@@; echo "$__code"; echo "$__stat"; set',
            ],
            env={name: value for name, value in given.items() if value is not None},
            capture_output=True,
            check=False,
            user=uid,
            group=uid,
            extra_groups=[],
            cwd="/",
        )
        err = done.stderr.decode()
        assert done.returncode == 0, err
        variables, _, rest = done.stdout.decode(errors="replace").partition("\n@@@@\n")
        said, status, left = rest.split("\n", 2)
        assert said == "0"
        # Field 11 of stat(5): page faults of children that were waited for.
        children = int(status.rsplit(") ", 1)[1].split()[8])
        pairs = (variable.partition("=") for variable in variables.split("\0") if "=" in variable)
        return Login({name: value for name, _, value in pairs}, left, children, err)


@pytest.fixture(params=SHELLS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    root = Path(tempfile.mkdtemp(prefix="nixadmin-login-"))
    root.chmod(0o755)
    made = Site(root, SHELLS[request.param])
    for name in ("profiles/per-user", "gcroots/per-user"):
        made.directory(made.state / name, 0)
    for directory in (made.state, made.state / "profiles", made.state / "gcroots"):
        directory.chmod(0o755)
    made.directory(made.home, ALICE)
    yield made
    shutil.rmtree(root)


def tree(path: Path) -> dict[str, str]:
    """What lies below `path`: the kind of each, and where links lead."""
    return {
        str(found.relative_to(path)): f"-> {found.readlink()}"
        if found.is_symlink()
        else stat.filemode(found.stat().st_mode)
        for found in sorted(path.rglob("*"))
    }


def users_directories(site: Site) -> None:
    for kind in ("profiles", "gcroots"):
        site.directory(site.own(kind), ALICE)


def test_a_new_user_gets_everything(site: Site) -> None:
    login = site.login()
    link = f"{site.home}/.nix-profile"
    assert login.err == ""
    assert login.path == [f"{link}/bin", f"{site.default}/bin", "/usr/bin", "/bin"]
    assert login.env["NIX_PROFILES"] == f"{site.default} {link}"
    assert login.env["MANPATH"] == f"{link}/share/man:{site.default}/share/man:"
    assert login.env["XDG_DATA_DIRS"] == f"{link}/share:{site.default}/share:/usr/local/share:/usr/share"
    assert login.env["NIX_SSL_CERT_FILE"] == CERTIFICATES
    assert "NIX_REMOTE" not in login.env and "NIX_PATH" not in login.env
    assert tree(site.home) == {
        ".nix-profile": f"-> {site.home}/.local/state/nix/profiles/profile",
        ".nix-defexpr": "drwxr-xr-x",
        ".nix-defexpr/channels_root": f"-> {site.state}/profiles/per-user/root/channels",
    }
    assert (site.home / ".nix-defexpr").stat().st_uid == ALICE


@pytest.mark.parametrize("version", [OLD, MIDDLE])
def test_profiles_were_in_the_state_once(site: Site, version: str) -> None:
    users_directories(site)
    site.login(version)
    assert tree(site.home)[".nix-profile"] == f"-> {site.own('profiles')}/profile"


def test_nix_1_needs_to_be_told_of_daemon_and_channels(site: Site) -> None:
    users_directories(site)
    login = site.login(OLD)
    assert login.env["NIX_REMOTE"] == "daemon"
    channels = f"{site.state}/profiles/per-user/root/channels"
    assert login.env["NIX_PATH"] == f"nixpkgs={channels}/nixpkgs:{channels}"
    assert "NIX_REMOTE" not in site.login(OLD, uid=0).env
    kept = site.login(OLD, env={"NIX_REMOTE": "ssh://x", "NIX_PATH": "a=b"}).env
    assert (kept["NIX_REMOTE"], kept["NIX_PATH"]) == ("ssh://x", "a=b")


@pytest.mark.parametrize("version", [OLD, MIDDLE, NEW])
@pytest.mark.parametrize(
    "before",
    [
        "set -eu",
        "set -o noclobber",
        "set -f",
        "set -a",
        "IFS=/n",
        "IFS=",
        "umask 077",
        "CDPATH=/tmp; ENV=/dev/null; BASH_ENV=/dev/null; export CDPATH ENV BASH_ENV",
        "set -eu; IFS=:/x; set -o noclobber; set -f; umask 077",
    ],
)
def test_the_shell_may_be_in_any_mood(site: Site, version: str, before: str) -> None:
    users_directories(site)
    login = site.login(version, before=before, times=2)
    assert login.err == ""
    assert login.path == [f"{site.home}/.nix-profile/bin", f"{site.default}/bin", "/usr/bin", "/bin"]
    assert tree(site.home).keys() == {".nix-profile", ".nix-defexpr", ".nix-defexpr/channels_root"}
    assert stat.S_IMODE((site.home / ".nix-defexpr").stat().st_mode) == 0o755
    assert "__nixadmin" not in login.left


@pytest.mark.parametrize("version", [MIDDLE, NEW])
def test_the_second_login_changes_nothing_and_starts_no_process(site: Site, version: str) -> None:
    users_directories(site)
    first = site.login(version)
    before = {path: os.lstat(path).st_ctime_ns for path in site.root.rglob("*") if path.name != "nixadmin.sh"}
    second = site.login(version)
    again = site.login(version, env=first.env)
    for name in ("PATH", "MANPATH", "XDG_DATA_DIRS", "NIX_PROFILES", "NIX_SSL_CERT_FILE"):
        assert first.env[name] == second.env[name] == again.env[name]
    assert first.children > 0 and second.children == 0
    assert before == {path: os.lstat(path).st_ctime_ns for path in site.root.rglob("*") if path.name != "nixadmin.sh"}


@pytest.mark.parametrize("version", [OLD, MIDDLE, NEW])
@pytest.mark.parametrize("home", [None, "", "/", "home", "/nonexistent", "/etc/passwd", "/a:/b"])
def test_without_a_home_there_is_the_default_profile(site: Site, version: str, home: str | None) -> None:
    users_directories(site)
    login = site.login(version, env={"HOME": home, "USER": None}, before="set -eu")
    assert login.err == ""
    assert login.path == [f"{site.default}/bin", "/usr/bin", "/bin"]
    assert login.env["NIX_PROFILES"] == site.default
    assert tree(site.home) == {}


@pytest.mark.parametrize("version", [MIDDLE, NEW])
def test_a_home_that_cannot_be_written_to(site: Site, version: str) -> None:
    users_directories(site)
    site.home.chmod(0o555)
    login = site.login(version, before="set -eu")
    assert login.err == "" and tree(site.home) == {}
    assert login.path[0] == f"{site.home}/.nix-profile/bin"


def test_a_home_that_is_a_link(site: Site) -> None:
    other = site.root / "link"
    other.symlink_to(site.home)
    login = site.login(env={"HOME": str(other)})
    assert login.path[0] == f"{other}/.nix-profile/bin"
    assert ".nix-profile" in tree(site.home)


def test_a_home_with_a_space(site: Site) -> None:
    home = site.directory(site.root / "my home$(id)*", ALICE)
    login = site.login(env={"HOME": str(home)}, before="set -eu", times=2)
    assert login.path[0] == f"{home}/.nix-profile/bin"
    assert login.env["NIX_PROFILES"] == site.default  # a list with spaces between
    assert ".nix-profile" in tree(home)


@pytest.mark.parametrize("version", [OLD, MIDDLE, NEW])
def test_root_in_the_home_of_another(site: Site, version: str) -> None:
    """`sudo -E` and `su` keep HOME: what alice has there is not for root, and root writes nothing there."""
    planted = site.directory(site.home / ".nix-profile/bin", ALICE)
    before = tree(site.home)
    login = site.login(version, uid=0, env={"USER": ALICE_NAME}, before="set -eu")
    assert str(planted) not in login.path
    assert str(site.home) not in "\n".join(value for name, value in login.env.items() if name != "HOME")
    assert tree(site.home) == before


def test_root_in_a_home_for_everybody(site: Site) -> None:
    home = site.directory(site.root / "tmp", 0, 0o1777)
    login = site.login(uid=0, env={"HOME": str(home)})
    assert login.path == [f"{site.default}/bin", "/usr/bin", "/bin"] and tree(home) == {}


@pytest.mark.parametrize("version", [MIDDLE, NEW])
def test_root_subscribes_to_the_channel_once(site: Site, version: str) -> None:
    home = site.directory(site.root / "root", 0, 0o700)
    list_of_channels = home / ".nix-channels"
    site.login(version, uid=0, env={"HOME": str(home)}, before="set -eu; set -o noclobber")
    assert list_of_channels.read_text() == "https://channels.test/stable nixpkgs\n"
    link = "default" if version == MIDDLE else "per-user/root/profile"
    assert tree(home) == {".nix-profile": f"-> {site.state}/profiles/{link}", ".nix-channels": "-rw-r--r--"}
    list_of_channels.write_text("")
    site.login(version, uid=0, env={"HOME": str(home)})
    assert list_of_channels.read_text() == ""


def test_no_channel_no_subscription(site: Site) -> None:
    site.options["channel"] = None
    home = site.directory(site.root / "root", 0, 0o700)
    site.login(uid=0, env={"HOME": str(home)})
    assert ".nix-channels" not in tree(home)


def test_root_writes_through_no_link(site: Site) -> None:
    home = site.directory(site.root / "root", 0, 0o700)
    (home / ".nix-channels").symlink_to(site.root / "victim")
    site.login(uid=0, env={"HOME": str(home)})
    assert not (site.root / "victim").exists()


def test_root_makes_its_own_directories_for_an_old_nix(site: Site) -> None:
    home = site.directory(site.root / "root", 0, 0o700)
    site.login(MIDDLE, uid=0, env={"HOME": str(home)}, before="umask 077")
    for kind in ("profiles", "gcroots"):
        assert stat.S_IMODE(site.own(kind, "root").stat().st_mode) == 0o755


@pytest.mark.parametrize("plant", ["link", "dangling", "directory of another", "file"])
def test_nothing_is_written_through_what_another_planted(site: Site, plant: str) -> None:
    victim = site.directory(site.root / "victim", ALICE)
    defexpr = site.home / ".nix-defexpr"
    match plant:
        case "link":
            defexpr.symlink_to(victim)
        case "dangling":
            defexpr.symlink_to(site.root / "nowhere")
        case "directory of another":
            site.directory(defexpr, BOB, 0o777)
        case "file":
            defexpr.write_text("")
    (site.home / ".nix-profile").symlink_to(victim)
    before = tree(site.root)
    login = site.login(before="set -eu")
    assert login.err == ""
    assert tree(site.root).keys() - before.keys() <= {"nixadmin.sh"}
    assert tree(victim) == {}


@pytest.mark.parametrize("kind", ["profiles", "gcroots"])
@pytest.mark.parametrize("plant", ["another's", "link", "dangling"])
def test_a_profile_directory_that_another_made(site: Site, kind: str, plant: str) -> None:
    """Below parents of mode 1777 (before Nix 2.3.1) anybody could be quicker: CVE-2019-17365."""
    for parent in ("profiles", "gcroots"):
        (site.state / parent / "per-user").chmod(0o1777)
    users_directories(site)
    own = site.own(kind)
    own.rmdir()
    match plant:
        case "another's":
            site.directory(own, BOB, 0o777)
        case "link":
            own.symlink_to(site.directory(site.root / "planted", ALICE))
        case "dangling":
            own.symlink_to(site.root / "nowhere")
    login = site.login("2.3", before="set -eu")
    assert login.err == f"nixadmin: {own} is not your own directory: tell the administrator\n"
    assert login.path == [f"{site.default}/bin", "/usr/bin", "/bin"]
    assert ".nix-profile" not in tree(site.home)


def test_an_old_nix_lets_a_user_make_the_directories(site: Site) -> None:
    for parent in ("profiles", "gcroots"):
        (site.state / parent / "per-user").chmod(0o1777)
    site.login("2.3", before="umask 077")
    for kind in ("profiles", "gcroots"):
        made = site.own(kind).stat()
        assert (made.st_uid, stat.S_IMODE(made.st_mode)) == (ALICE, 0o755)


@pytest.mark.parametrize("user", [BOB_NAME, "root", "", None, "../../x", "no such", "-n"])
def test_user_may_name_another(site: Site, user: str | None) -> None:
    users_directories(site)
    site.directory(site.own("profiles", BOB_NAME), BOB)
    login = site.login(MIDDLE, env={"USER": user, "LOGNAME": user})
    assert login.err == ""
    assert tree(site.home)[".nix-profile"] == f"-> {site.own('profiles')}/profile"


def test_programs_in_path_are_not_run(site: Site) -> None:
    fake = site.directory(site.root / "fake", 0)
    for name in ("mkdir", "ln", "id", "test", "[", "echo", "printf", "env", "sh"):
        (fake / name).write_text(f"#!/bin/sh\n: >{site.home}/run-{name}\n")
        (fake / name).chmod(0o755)
    site.login(MIDDLE, env={"PATH": str(fake), "USER": BOB_NAME})
    assert not [name for name in tree(site.home) if name.startswith("run-")]


def test_what_is_set_already_stays(site: Site) -> None:
    given = {"MANPATH": "/m", "XDG_DATA_DIRS": "/d", "NIX_SSL_CERT_FILE": "/c"}
    login = site.login(env=given)
    assert login.env["MANPATH"].split(":")[2:] == ["/m"]
    assert login.env["XDG_DATA_DIRS"].split(":")[2:] == ["/d"]
    assert login.env["NIX_SSL_CERT_FILE"] == "/c"


def test_the_administrators_certificates_come_first(site: Site) -> None:
    bundle = site.root / "it's our ca.crt"
    bundle.write_text("")
    site.options["certificates"] = bundle
    assert site.login().env["NIX_SSL_CERT_FILE"] == str(bundle)
    bundle.unlink()
    assert site.login().env["NIX_SSL_CERT_FILE"] == CERTIFICATES


def test_xdg_directories(site: Site) -> None:
    site.options["xdg"] = True
    login = site.login()
    assert login.path[0] == f"{site.home}/.local/state/nix/profile/bin"
    assert tree(site.home) == {}
    elsewhere = site.directory(site.root / "elsewhere", ALICE)
    assert site.login(env={"XDG_STATE_HOME": str(elsewhere)}).path[0] == f"{elsewhere}/nix/profile/bin"
    for bad in (site.directory(site.root / "bobs", BOB), "relative", "/a:b"):
        assert site.login(env={"XDG_STATE_HOME": str(bad)}).path[0] == f"{site.home}/.local/state/nix/profile/bin"


def test_a_user_with_xdg_directories_of_their_own(site: Site) -> None:
    profiles = site.directory(site.home / ".local/state/nix", ALICE)
    (profiles / "profile").symlink_to("profiles/profile-1-link")
    login = site.login()
    assert login.path[0] == f"{profiles}/profile/bin"
    assert not (site.home / ".nix-profile").is_symlink()
