"""The build that the probe asks for: it looks around with nothing but a shell's builtins, and tells what it sees."""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Self

from nixadmin.errors import NixadminError

# Built here and now, whatever builders or caches there are; --argstr brings the rest, so nothing needs quoting.
EXPRESSION = """
{ name, script, marker, port, portHex }: derivation {
  inherit name marker port portHex;
  system = builtins.currentSystem;
  builder = "/bin/sh";
  args = [ "-c" script ];
  preferLocalBuild = true;
  allowSubstitutes = false;
}
"""

# Nothing but builtins that bash, busybox and dash have: the sandbox holds no other program. A loop with its input
# redirected runs in the shell itself, so that /proc/self is the shell. `outside` are things of the host that must not
# be seen. The port is one that the host listens at: /proc/net/tcp tells even a shell that cannot connect.
SCRIPT = r"""
exec >"$out" || exit 1
echo "pid $$"
echo "cwd $PWD"
echo "bash $BASH_VERSION"
while read -r key value rest; do
  case $key in Uid:) echo "uid $value" ;; esac
done </proc/self/status
while read -r inside outside count; do echo "map $inside $outside $count"; done </proc/self/uid_map
while read -r range mode offset device inode file; do
  case $file in /*) echo "mapped $file" ;; esac
done </proc/self/maps
while read -r interface rest; do
  case $interface in *:*) echo "interface ${interface%%:*}" ;; esac
done </proc/net/dev
while read -r number local remote state rest; do
  case $local:$state in *:"$portHex":0A) echo "outside the listening port $port" ;; esac
done </proc/net/tcp
if [ -n "$BASH_VERSION" ] && [ "$port" != 0 ] && (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "outside the host's port $port"
fi
for entry in /*; do echo "root ${entry#/}"; done
for entry in "$marker" /etc/shadow; do
  if [ -e "$entry" ]; then echo "outside $entry"; fi
done
for entry in /nix/store/*-"$name".drv; do
  if [ -e "$entry" ]; then echo "outside $entry"; fi
done
number=0
for entry in /nix/store/*; do number=$((number + 1)); done
echo "paths $number"
echo "end"
"""

LONGEST = 2**16  # bytes; what it tells takes about a thousandth of that
_LINE = re.compile(r"([a-z]+) (.*)")


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the build saw. `maps` are the lines of its uid_map: inside, outside, count."""

    pid: int
    uid: int
    maps: tuple[tuple[int, int, int], ...]
    cwd: str
    bash: str
    mapped: frozenset[str]
    interfaces: frozenset[str]
    root: tuple[str, ...]
    outside: tuple[str, ...]
    paths: int

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what SCRIPT has written. Raises NixadminError when it is something else, or is not complete."""
        told: dict[str, list[str]] = defaultdict(list)
        lines = text.splitlines()
        for line in lines:
            if match := _LINE.fullmatch(line):
                told[match[1]].append(match[2])
        try:
            if lines[-1] != "end":
                raise ValueError("it breaks off")
            maps = tuple((int(a), int(b), int(c)) for a, b, c in (line.split() for line in told["map"]))
            return cls(
                pid=int(told["pid"][0]),
                uid=int(told["uid"][0]),
                maps=maps,
                cwd=told["cwd"][0],
                bash=told["bash"][0],
                mapped=frozenset(told["mapped"]),
                interfaces=frozenset(told["interface"]),
                root=tuple(told["root"]),
                outside=tuple(told["outside"]),
                paths=int(told["paths"][0]),
            )
        except (ValueError, IndexError) as e:
            raise NixadminError("the probe's build wrote something else than was asked for", str(e)) from e

    def uid_outside(self, daemon_maps: tuple[tuple[int, int, int], ...]) -> int:
        """The uid that it had on the host, whose own uid_map is `daemon_maps`.

        uid_map(5) of a process in a user namespace of its own gives the host's uids; without one, it shows the
        host's own map, and the uid is what it seems.
        """
        if self.maps != daemon_maps:
            for inside, outside, count in self.maps:
                if inside <= self.uid < inside + count:
                    return outside + self.uid - inside
        return self.uid


def read_maps(text: str) -> tuple[tuple[int, int, int], ...]:
    """The lines of a uid_map."""
    return tuple((int(a), int(b), int(c)) for a, b, c in (line.split() for line in text.splitlines()))
