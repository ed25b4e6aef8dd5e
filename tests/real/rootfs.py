"""Root file systems of fresh hosts: made once by mmdebstrap, kept unpacked in a cache outside the checkout.

A root file system is a value (`Recipe`); its place in the cache is named after the hash of that value, so
that a changed recipe never meets an old tree. Nothing writes into a tree once it is there: hosts put an
overlay over it.
"""

from __future__ import annotations

import fcntl
import hashlib
import inspect
import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

PACKAGES_DIR = "/opt/debian"  # where a host finds the packages that it may install without a network
PAYLOAD_DIR = "/opt/nixadmin"  # where a host finds the nixadmin under test

_EVERYWHERE = (
    "ca-certificates",
    "dbus",
    "iproute2",
    "login",
    "openssh-client",
    "openssh-server",
    "passwd",
    "procps",
    "python3",
    "python3-venv",
    "sudo",
    "xz-utils",
)

# Fixed, so that the first boot is like every other and writes nothing.
_MACHINE_ID = "6e697861646d696e6f6e6f7264696e61"

_CUSTOMISE = f"""\
cd "$1"
for user in alice:1000 bob:1001; do
  chroot . useradd --create-home --shell /bin/bash --uid "${{user#*:}}" --user-group "${{user%:*}}"
done
echo host > etc/hostname
printf '127.0.0.1 localhost host\\n::1 localhost\\n' > etc/hosts
rm -f etc/resolv.conf etc/apt/apt.conf.d/99mmdebstrap etc/apt/sources.list.d/*
: > etc/resolv.conf
echo 'deb [trusted=yes] file:{PACKAGES_DIR} ./' > etc/apt/sources.list
mkdir -p opt/nixadmin opt/debian
cat > usr/local/bin/nixadmin <<'END'
#!/usr/bin/python3
import sys
sys.path[:0] = ["{PAYLOAD_DIR}/source", "{PAYLOAD_DIR}/site"]
from nixadmin.cli import main
sys.exit(main())
END
chmod 0755 usr/local/bin/nixadmin
"""

# What would reach the kernel that all hosts share, and what would work in the background of a test.
_SYSTEMD = """\
for unit in systemd-modules-load.service systemd-sysctl.service systemd-binfmt.service \
    systemd-udevd.service systemd-udev-trigger.service \
    proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount \
    apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service \
    fstrim.timer man-db.timer; do
  ln -sf /dev/null "etc/systemd/system/$unit"
done
"""
_SYSVINIT = """\
for script in brightness checkfs.sh checkroot.sh hwclock.sh kmod procps umountroot urandom; do
  if test -e "etc/init.d/$script"; then chroot . update-rc.d -f "$script" remove; fi
done
sed -i '/:respawn:.*getty/d' etc/inittab  # no terminal to log in at
# init takes its lines in order and waits for the scripts of the runlevel: the boot is over after them.
echo 'up:2345:once:/usr/bin/touch /run/booted' >> etc/inittab
"""


@dataclass(frozen=True)
class Recipe:
    """What a root file system is made of; `offered` are packages that it lacks but can install offline."""

    name: str
    suite: str
    packages: tuple[str, ...]
    customise: str
    offered: tuple[str, ...] = ("bash-static", "busybox-static", "nix-bin", "patchelf")

    @property
    def key(self) -> str:
        """The name in the cache: readable, and different for every different recipe."""
        # The code that builds is as much a part of the recipe as the values.
        text = json.dumps(asdict(self), sort_keys=True) + inspect.getsource(_build)
        return f"{self.name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def debian(suite: str, number: int, init: str) -> Recipe:
    """Debian with `init` ("systemd" or "sysvinit") as process 1, users alice and bob, and no Nix."""
    packages, customise = {
        "systemd": (("libpam-systemd", "systemd", "systemd-sysv"), _SYSTEMD),
        "sysvinit": (("initscripts", "orphan-sysvinit-scripts", "sysv-rc", "sysvinit-core"), _SYSVINIT),
    }[init]
    return Recipe(f"debian{number}-{init}", suite, tuple(sorted(_EVERYWHERE + packages)), _CUSTOMISE + customise)


RECIPES = {recipe.name: recipe for recipe in (debian("bookworm", 12, "systemd"), debian("bookworm", 12, "sysvinit"))}


@dataclass(frozen=True)
class RootFs:
    """A root file system in the cache: the tree, and a flat repository of the packages it is offered."""

    recipe: Recipe
    tree: Path
    packages: Path


def cache_dir() -> Path:
    """The cache of root file systems: NIXADMIN_ROOTFS_CACHE, or below the XDG cache directory."""
    xdg = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = Path(os.environ.get("NIXADMIN_ROOTFS_CACHE") or Path(xdg) / "nixadmin" / "rootfs")
    place.mkdir(parents=True, exist_ok=True)
    return place


@contextmanager
def locked(place: Path) -> Iterator[None]:
    """Hold the lock beside `place`: of several processes that want it, one builds it and the others wait."""
    with place.with_name(place.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def rootfs(name: str) -> RootFs:
    """The root file system called `name`, built if the cache has none (under a minute with a near mirror).

    Raises subprocess.CalledProcessError with mmdebstrap's own words in its notes.
    """
    recipe = RECIPES[name]
    place = cache_dir() / recipe.key
    with locked(place):
        if not place.exists():
            unfinished = place.with_name(place.name + ".unfinished")
            subprocess.run(["rm", "-rf", "--one-file-system", unfinished], check=True)
            unfinished.mkdir()
            _build(recipe, unfinished)
            unfinished.rename(place)
    return RootFs(recipe, place / "tree", place / "packages")


def _build(recipe: Recipe, place: Path) -> None:
    tree, packages = place / "tree", place / "packages"
    packages.mkdir()
    # With the recommended packages, because `apt-get install` on the host will ask for them too.
    offer = f"""\
set -eu
cd "$1/var/cache/apt/archives"
rm -f ./*.deb
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes -o APT::Install-Recommends=true --download-only \
  install {shlex.join(recipe.offered)}
cp ./*.deb {shlex.quote(str(packages))}/
"""
    log = place / "log"
    with log.open("w") as out:
        process = subprocess.run(
            [
                "mmdebstrap",
                "--mode=root",
                "--format=directory",
                "--variant=minbase",
                *(f"--aptopt={line}" for line in _apt_options()),
                f"--include={','.join(recipe.packages)}",
                f"--customize-hook={offer}",
                f"--customize-hook=set -eu\n{recipe.customise}",
                recipe.suite,
                tree,
                "-",
            ],
            input="\n".join(_apt_sources(recipe.suite)) + "\n",
            stdout=out,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    if process.returncode != 0:
        error = subprocess.CalledProcessError(process.returncode, "mmdebstrap")
        error.add_note(log.read_text()[-4000:])
        raise error
    index = "".join(_stanza(deb) for deb in sorted(packages.glob("*.deb")))
    (packages / "Packages").write_text(index)
    # What mmdebstrap cleans at its end: what the first `apt-get update` and the first boot would make.
    (tree / "var/lib/apt/lists/_opt_debian_._Packages").symlink_to(f"{PACKAGES_DIR}/./Packages")
    (tree / "etc/machine-id").write_text(f"{_MACHINE_ID}\n")
    dbus = tree / "var/lib/dbus"
    dbus.mkdir(exist_ok=True)
    (dbus / "machine-id").unlink(missing_ok=True)
    (dbus / "machine-id").symlink_to("/etc/machine-id")
    if (tree / "var/lib/systemd").is_dir():
        (tree / "var/lib/systemd/linger").mkdir(exist_ok=True)


def _stanza(deb: Path) -> str:
    """The paragraph of a `Packages` file for one package (deb822, as in Debian policy chapter 5)."""
    control = subprocess.run(["dpkg-deb", "--field", deb], check=True, capture_output=True, text=True).stdout
    data = deb.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    return f"{control.rstrip()}\nFilename: ./{deb.name}\nSize: {len(data)}\nSHA256: {digest}\n\n"


def _apt_sources(suite: str) -> list[str]:
    """The sources.list lines for `suite` from where this machine's own apt gets Debian."""
    targets = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(RELEASE) $(COMPONENT)",
            "Created-By: Packages",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    keyring = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
    option = f"[signed-by={keyring}] " if keyring.exists() else ""
    suites = (suite, f"{suite}-updates", f"{suite}-security")
    split = [target.split() for target in targets]
    return [f"deb {option}{' '.join(words)}" for words in split if len(words) == 3 and words[1] in suites]


def _apt_options() -> list[str]:
    """How this machine's apt reaches its mirror: proxies, certificates, what it forgives a stale mirror."""
    wanted = ("acquire::http::", "acquire::https::", "acquire::check-", "acquire::retries")
    lines = subprocess.run(["apt-config", "dump"], check=True, capture_output=True, text=True).stdout.splitlines()
    return [line for line in lines if line.lower().startswith(wanted) and not line.endswith('"";')]
