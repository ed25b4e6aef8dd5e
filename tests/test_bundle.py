"""A bundle of this host's Nix: complete by itself, the same every time, and taken by Nix."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nixadmin.bundle import Bundle, make_bundle
from nixadmin.errors import NixadminError, UsageError
from nixadmin.host import processes
from nixadmin.host.tarball import read_contents
from nixadmin.host.unpack import unpack

# A host with nothing but busybox: no loader, no library, no Nix.
BARE = """
root=$1; shift
mount -t tmpfs none "$root"
cd "$root"
mkdir -p bin etc/nix nix/store proc dev tmp root var/empty old room
cp /bin/busybox bin/busybox
for name in sh cat chown echo ls mkdir su umount tar gzip sleep; do ln -s busybox "bin/$name"; done
printf '%s\\n' root:x:0:0::/root:/bin/sh alice:x:1000:1000::/tmp/alice:/bin/sh \\
  nixbld1:x:30001:30000::/var/empty:/bin/false nixbld2:x:30002:30000::/var/empty:/bin/false >etc/passwd
printf '%s\\n' root:x:0: alice:x:1000: nixbld:x:30000:nixbld1,nixbld2 >etc/group
echo 'hosts: files dns' >etc/nsswitch.conf
echo '127.0.0.1 probehost' >etc/hosts
chmod 1777 tmp
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind "$1" room
mount --rbind "$2" nix/store
pivot_root . old
cd /
umount -l /old
exec /bin/sh -eu /room/script
"""

# The host's own file system, with changes that nobody else sees: for what needs Python and a /nix.
OVERLAY = """
root=$1; shift
mount -t tmpfs none "$root"
mkdir "$root/upper" "$root/work" "$root/all"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/upper,workdir=$root/work" "$root/all"
cd "$root/all"
mkdir -p old nix/store
mount -t proc proc proc
mount --rbind /dev dev
mount --rbind "$1" "$root/all$1"
mount --rbind "$2" nix/store
pivot_root . old
cd /
umount -l /old
exec /bin/sh -eu "$1/script"
"""


def run_on(host: str, tmp_path: Path, store: Path, script: str) -> str:
    (tmp_path / "room").mkdir(exist_ok=True)
    (tmp_path / "room/script").write_text(script)
    (tmp_path / "root").mkdir(exist_ok=True)
    command = ["unshare", "--mount", "--pid", "--fork", "sh", "-euc", host, "sh"]
    done = subprocess.run(
        [*command, tmp_path / "root", tmp_path / "room", store],
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "b.tar")


@pytest.fixture
def store(bundle: Bundle, tmp_path: Path) -> Path:
    (tmp_path / "store").mkdir(mode=0o755)
    unpack(bundle.path, tmp_path / "store", sha256=bundle.sha256, check_nars=True)
    return tmp_path / "store"


def test_what_is_in_it(bundle: Bundle, store: Path) -> None:
    contents = read_contents(bundle.path)
    assert (contents.version, contents.system) == (bundle.version, bundle.system)
    names = [one.path.name for one in contents.registrations]
    assert f"nix-{bundle.version}" in names
    assert contents.cacert is not None
    assert "BEGIN CERTIFICATE" in (store / str(contents.cacert) / "etc/ssl/certs/ca-bundle.crt").read_text()
    nix = next(one for one in contents.registrations if one.path == contents.nix)
    assert nix.references == (contents.nix,)
    shell = next(store / str(path) for path in bundle.paths if "-static-" in path.name)
    assert subprocess.check_output([shell / "bin/sh", "-c", "echo it runs"]) == b"it runs\n"


def test_the_same_every_time(bundle: Bundle, tmp_path: Path) -> None:
    again = make_bundle(tmp_path / "another-name.tar")
    assert again.sha256 == bundle.sha256
    assert again.path.read_bytes() == bundle.path.read_bytes()
    assert again.path.stat().st_mode & 0o777 == 0o644


def test_no_trace_of_this_host(bundle: Bundle) -> None:
    import tarfile

    with tarfile.open(bundle.path) as archive:
        for member in archive:
            assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (0, 0, "", "", 1)
            assert member.mode in (0o755, 0o644, 0o777)
    assert b"nixadmin-bundle-" not in bundle.path.read_bytes()  # the directory it was made in


@pytest.mark.ring(4)
def test_on_a_host_without_anything(bundle: Bundle, store: Path, tmp_path: Path) -> None:
    contents = read_contents(bundle.path)
    shell = next(path for path in bundle.paths if "-static-" in path.name)
    (tmp_path / "room").mkdir()
    subprocess.run(
        ["tar", "xf", bundle.path, "-C", tmp_path / "room", "--strip-components=1", f"{contents.top}/.reginfo"],
        check=True,
    )
    said = run_on(
        BARE,
        tmp_path,
        store,
        f"""
nix={contents.nix.absolute()}
export PATH=$nix/bin:/bin HOME=/root
printf '%s\\n' 'sandbox = true' 'build-users-group = nixbld' 'substituters =' \\
  'sandbox-paths = /bin/sh={shell.absolute()}/bin/sh' >/etc/nix/nix.conf
nix --version
nix-store --load-db </room/.reginfo
nix-store --verify --check-contents
nix-env -p /nix/var/nix/profiles/default -i $nix
ls -d $(nix-store -qR $nix)
nix-daemon --daemon &
while ! [ -e /nix/var/nix/daemon-socket/socket ]; do sleep 0.05; done
mkdir -p /tmp/alice /nix/var/nix/profiles/per-user/alice /nix/var/nix/gcroots/per-user/alice
chown 1000:1000 /tmp/alice /nix/var/nix/profiles/per-user/alice /nix/var/nix/gcroots/per-user/alice
cat >/tmp/t.nix <<END
{{ name }}: derivation {{ inherit name; system = builtins.currentSystem; builder = "/bin/sh";
  args = [ "-c" "while read -r a b c; do echo uid \\$a \\$b \\$c; done </proc/self/uid_map >\\$out" ]; }}
END
one="nix-build --no-out-link /tmp/t.nix --argstr name one"
su alice -c "PATH=$PATH HOME=/tmp/alice NIX_REMOTE=daemon $one" >/tmp/built
cat $(cat /tmp/built)
nix-build --no-out-link /tmp/t.nix --argstr name two --option builders 'ssh://nohost.invalid {contents.system}'
mkdir -p /tmp/c/c
echo '{{ }}' >/tmp/c/c/default.nix
(cd /tmp/c; tar cf - c | gzip -c >nixexprs.tar.xz)
nix-channel --add file:///tmp/c c
nix-channel --update
ls -L /root/.nix-defexpr/channels/c
nix-prefetch-url http://probehost:1/x --option download-attempts 1 || echo refused
nix-store --verify --check-contents
kill %1
""",
    )
    assert f"nix (Nix) {bundle.version}" in said
    assert "uid " in said
    assert "cannot build on 'ssh://nohost.invalid'" in said  # so the build hook was found
    assert "default.nix" in said
    assert "refused" in said
    assert "resolve" not in said.split("nohost.invalid")[-1]  # probehost was looked up, and did not answer


@pytest.mark.ring(4)
def test_a_nix_in_the_store_is_taken_with_its_closure(bundle: Bundle, store: Path, tmp_path: Path) -> None:
    contents = read_contents(bundle.path)
    (tmp_path / "room").mkdir()
    (tmp_path / "room/.reginfo").write_text("")
    subprocess.run(
        ["tar", "xf", bundle.path, "-C", tmp_path / "room", "--strip-components=1", f"{contents.top}/.reginfo"],
        check=True,
    )
    nix = contents.nix.absolute()
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from nixadmin.bundle import make_bundle
print(make_bundle(Path({str(tmp_path / "room/again.tar.gz")!r}), nix=Path("/tmp/a link/nix")).sha256)
"""
    (tmp_path / "room/code.py").write_text(code)
    said = run_on(
        OVERLAY,
        tmp_path,
        store,
        f"""
unset NIX_REMOTE
{nix}/bin/nix-store --load-db <{tmp_path}/room/.reginfo
{nix}/bin/nix-store --optimise
mkdir -p '/tmp/a link'
ln -s {nix}/bin/nix '/tmp/a link/nix'
{sys.executable} {tmp_path}/room/code.py
""",
    )
    again = read_contents(tmp_path / "room/again.tar.gz")
    assert again.nix == contents.nix
    assert set(again.registrations) == set(contents.registrations)
    assert re.search("^[0-9a-f]{64}$", said, re.MULTILINE)
    (tmp_path / "second").mkdir()
    unpack(tmp_path / "room/again.tar.gz", tmp_path / "second", check_nars=True)


@pytest.mark.parametrize("suffix", ["xz", "zst"])
def test_compressed(bundle: Bundle, tmp_path: Path, suffix: str) -> None:
    from nixadmin.host.compress import compressed
    from nixadmin.host.decompress import opened

    data = bundle.path.read_bytes()[-3_000_000:] * 4
    for name in ("one", "two"):
        with (tmp_path / name).open("wb") as raw, compressed(f"x.tar.{suffix}", raw) as sink:
            sink.write(data)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    with opened(tmp_path / "one", threads=2) as stream:
        assert stream.read(len(data)) == data


def test_the_install_script_says_what_to_do(bundle: Bundle, tmp_path: Path) -> None:
    subprocess.run(
        ["tar", "xf", bundle.path, "-C", tmp_path, "--strip-components=1", "--wildcards", "*/install"], check=True
    )
    subprocess.run(["shellcheck", "--shell=sh", tmp_path / "install"], check=True)
    done = subprocess.run([tmp_path / "install"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "nixadmin provision --nix TARBALL" in done.stderr


def test_refused(tmp_path: Path) -> None:
    out = tmp_path / "b.tar.xz"
    out.write_text("what was there")
    with pytest.raises(UsageError, match="does not say how to compress"):
        make_bundle(tmp_path / "b.zip")
    with pytest.raises(NixadminError, match="there is no Nix at /nowhere/nix"):
        make_bundle(out, nix=Path("/nowhere/nix"))
    with pytest.raises(NixadminError, match="does not tell which Nix it is"):
        make_bundle(out, nix=Path("/bin/bash"))
    with pytest.raises(NixadminError, match="is dynamically linked"):
        make_bundle(out, bash=Path("/bin/bash"))
    with pytest.raises(NixadminError, match="there are no CA certificates in /etc/passwd"):
        make_bundle(out, certificate_file=Path("/etc/passwd"))
    assert out.read_text() == "what was there"
    assert [path.name for path in tmp_path.iterdir()] == ["b.tar.xz"]


def test_without_patchelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATH", str(tmp_path))
    with pytest.raises(NixadminError, match="patchelf is not on this host"):
        make_bundle(tmp_path / "b.tar", nix=Path("/usr/bin/nix"))


def test_no_room_for_it(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    code = f"""
import os
from pathlib import Path
from nixadmin.bundle import make_bundle
from nixadmin.errors import NixadminError
from nixadmin.host.compress import compressed
room = Path({str(tmp_path / "m")!r})
try:
    make_bundle(room / "b.tar")
except NixadminError as e:
    print(e, os.listdir(room))
try:
    with (room / "x").open("wb") as raw, compressed("x.tar.xz", raw) as sink:
        for _ in range(30):
            sink.write(os.urandom(1 << 20))
except NixadminError as e:
    print(e)
"""
    command = ["unshare", "--mount", "sh", "-euc", 'mount -t tmpfs -o size=4m none "$1"; exec "$2" -c "$3"', "sh"]
    done = subprocess.run([*command, tmp_path / "m", sys.executable, code], capture_output=True, text=True, check=True)
    full, xz = done.stdout.splitlines()
    assert full.startswith("cannot write") and full.endswith("No space left on device []")
    assert xz.startswith("xz exited 1: ") and xz.endswith("No space left on device")
