"""What a working multi-user Nix is, seen from outside: builds by ordinary users, and what a build sees."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from tests.real.host import Host
from tests.real.rootfs import PACKAGES_DIR

POOL = range(30001, 30033)  # the build users of a host that had none

# Written by the build itself, which has nothing but a shell: no program to list, to copy or to connect with.
_WITNESS = """\
derivation {
  name = "witness-@NUMBER@";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" ''
    exec > $out
    read -r inside outside count < /proc/self/uid_map
    echo "uid=$outside"
    echo "bash=$BASH_VERSION"
    echo "libraries=$(while read -r line; do case $line in *.so*) echo "$line" ;; esac; done < /proc/self/maps)"
    echo "root=$(echo /*)"
    echo "opt=$(echo /opt/*)"
    if (exec 3<> /dev/tcp/127.0.0.1/22) 2> /dev/null; then echo ssh=reached; else echo ssh=none; fi
    echo "faces=$(while read -r face rest; do case $face in *:) echo "$face" ;; esac; done < /proc/net/dev)"
  '' ];
}
"""
_PACKAGE = """\
derivation {
  name = "greeting-1.0";
  system = builtins.currentSystem;
  builder = "/bin/sh";
  tools = ./tools/bin;
  args = [ "-euc" ''
    $tools/busybox mkdir -p $out/bin
    echo '#!/bin/sh' > $out/bin/greeting
    echo 'echo greetings' >> $out/bin/greeting
    $tools/busybox chmod 0755 $out/bin/greeting
  '' ];
}
"""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Seen:
    """What one build saw of the host it ran on."""

    path: str
    uid: int
    bash: str
    libraries: str
    root: str
    opt: str
    ssh: str
    faces: str


def build(host: Host, user: str = "alice") -> Seen:
    """Let `user` build what nobody has built before, in a login shell."""
    return build_as(host, ["su", "-", user, "-c", "cat > /tmp/$USER.nix; nix-build --no-out-link /tmp/$USER.nix"])


def build_by_ssh(host: Host, user: str = "alice") -> Seen:
    """The same over ssh, as somebody who comes from elsewhere."""
    key = "/tmp/witness"
    host.sh(f"test -e {key} || ssh-keygen -q -t ed25519 -N '' -f {key}")
    host.run(
        ["su", "-", user, "-c", "mkdir -p -m 0700 .ssh; cat > .ssh/authorized_keys"], input=host.sh(f"cat {key}.pub")
    )
    line = "bash -lc 'cat > /tmp/$USER.nix; nix-build --no-out-link /tmp/$USER.nix'"
    options = ("-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")
    seen = build_as(host, ["ssh", "-q", *options, f"{user}@localhost", line])
    host.sh(f"rm -r ~{user}/.ssh")
    return seen


def build_as(host: Host, command: list[str]) -> Seen:
    """Give a derivation to a command's standard input; what it writes is the path that was built."""
    text = _WITNESS.replace("@NUMBER@", f"{next(_numbers)}")
    path = host.run(command, input=text).stdout.strip()
    said = dict(line.split("=", 1) for line in host.path(path).read_text().split("\n") if "=" in line)
    return Seen(path=path, uid=int(said.pop("uid")), **said)


def assert_isolated(host: Host, seen: Seen, uids: range | set[int] = POOL) -> None:
    """The build ran as a build user, in a sandbox with a static bash, and could reach nothing and nobody."""
    assert seen.uid in uids
    assert seen.bash.startswith("5.") and seen.libraries == ""
    assert seen.root == "/bin /build /dev /etc /nix /proc /tmp"
    assert seen.opt == "/opt/*"
    assert seen.ssh == "none" and seen.faces == "lo:"
    owner = host.path(seen.path).stat()
    assert (owner.st_uid, owner.st_mode & 0o7777) == (0, 0o444)


def assert_own_profile(host: Host) -> None:
    """alice installs a derivation of her own into her profile; bob has none of it."""
    host.run(["su", "-", "alice", "-c", "cat > package.nix"], input=_PACKAGE)
    host.sh(f"dpkg-deb -x {PACKAGES_DIR}/busybox-static_*.deb tools && nix-env --quiet -if package.nix", user="alice")
    assert host.sh("greeting; nix-env -q", user="alice") == "greetings\ngreeting-1.0"
    assert host.sh("command -v greeting; nix-env -q", user="bob") == ""
    profile = host.sh("readlink -f .nix-profile/bin/greeting", user="alice")
    assert profile.startswith("/nix/store/")
    host.sh("rm -r tools package.nix", user="alice")
