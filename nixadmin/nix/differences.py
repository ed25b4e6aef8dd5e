"""Where versions of Nix behave differently, other than in their settings (see `known_settings`).

Each is a fact about Nix with the version it begins with (`since`), the one it ends with (`until`), and its
source. A version marked "seen" is the first that was looked at and has it: it may have begun earlier.
"""

from typing import NamedTuple

from nixadmin.nix.version import Version


class Difference(NamedTuple):
    """It holds from version `since` (None: from the first) until version `until` (None: to the last), exclusive."""

    since: str | None
    until: str | None
    source: str

    def holds(self, version: Version) -> bool:
        """Whether it is so in `version`."""
        begun = self.since is None or version.has(self.since)
        return begun and (self.until is None or not version.has(self.until))


# A client without write access to the store finds the daemon without NIX_REMOTE=daemon.
FINDS_DAEMON = Difference("2.0", None, "rl-2.0: it is no longer necessary to set NIX_REMOTE")
# Without NIX_PATH, <nixpkgs> is looked for in the user's and root's channels.
FINDS_CHANNELS = Difference("2.8", None, "seen: EvalSettings::getDefaultNixPath of 2.8")
# The `nix` program with subcommands.
HAS_NIX_COMMAND = Difference("2.0", None, "rl-2.0")
# …which has to be asked for: --extra-experimental-features nix-command.
NIX_COMMAND_IS_EXPERIMENTAL = Difference("2.4", None, "rl-2.4; still so in 2.34.8")
# `nix config show`, before: `nix show-config` (which stays as an alias with a warning).
CONFIG_SHOW = Difference("2.20", None, "rl-2.20")
# `nix store info`, before: `nix store ping` (2.4 to), an alias with a warning now.
STORE_INFO = Difference("2.26", None, "seen: 2.26.3")
# `nix path-info --json` warns without --json-format 1 (a map of full paths) or 2 (names, under "info").
JSON_FORMAT = Difference("2.33", None, "rl-2.33")
# An ordinary user's profiles are in $XDG_STATE_HOME/nix/profiles (~/.local/state), before that in
# /nix/var/nix/profiles/per-user/NAME; root's are in per-user/root, before that root's was profiles/default.
PROFILES_IN_HOME = Difference("2.14", None, "NixOS/nix#5226, cachix/install-nix-action#162")
# The daemon makes profiles/per-user/NAME and gcroots/per-user/NAME at a user's first connection, and opening
# the store as root sets both parents to 0755. Before, they had to be 1777 (CVE-2019-17365).
DAEMON_MAKES_USER_DIRECTORIES = Difference("2.3.1", "2.14", "NixOS/nix#3136, nix-community/home-manager#3742")
# Builds run below /nix/var/nix/builds, before: below TMPDIR or /tmp.
BUILDS_IN_STATE = Difference("2.30", None, "rl-2.30")
# Builders come from the `builders` setting; before: from a build hook and NIX_REMOTE_SYSTEMS alone.
BUILDERS_SETTING = Difference("2.0", None, "rl-2.0")
# NIX_REMOTE_SYSTEMS (paths of machines files, with colons between) overrides `builders`, in every version.
READS_REMOTE_SYSTEMS = Difference(None, None, "rl-2.0; globals.cc of 2.8, 2.26 and 2.36-dev")
# NIX_CURRENT_LOAD is where build-remote.pl keeps its slots; later it is /nix/var/nix/current-load, always.
READS_CURRENT_LOAD = Difference(None, "2.0", "build-remote.pl of 1.11; build-remote.cc of 2.8 and 2.26")
# NIX_BUILD_HOOK names the program that sends builds away.
READS_BUILD_HOOK = Difference(None, "2.0", "rl-2.0")
# A speed in a machines file may have a fraction.
MACHINE_SPEED_IS_FLOAT = Difference("2.20", None, "NixOS/nix commit 1e24db6f9a")
# Uids for builds without a pool: the setting auto-allocate-uids.
ALLOCATES_UIDS = Difference("2.12", None, "rl-2.12")
