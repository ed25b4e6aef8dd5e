"""The table of the settings of nix.conf: which Nix knows which, under what name, and of what kind.

Sources: `nix show-config` of Debian's Nix 2.8.0, 2.26.3 and 2.34.8, the release notes of Nix 1.0 to 2.35,
and the settings in the sources of Nix 1.11 and 2.3. Where the notes are silent, a setting counts from the
first of these versions it was *seen* in, which may be later than the one it came with.
"""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What may stand in a setting; the value is how a refusal calls it."""

    BOOL = "true or false"
    SANDBOX = "true, false or relaxed"
    INT = "a whole number of at most 2147483647"
    JOBS = "a whole number, or auto"
    BYTES = "a number of bytes: digits, and K, M, G or T after them if you like"
    PATH = "one absolute path"
    PATHS = "absolute paths, each perhaps as INSIDE=OUTSIDE"
    TEXT = "text"
    LIST = "words"
    MAP = "words of the form NAME=VALUE"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: it came with `since`, or (if `seen`) was first seen there; `until` lacks it again."""

    name: str
    kind: Kind
    since: str
    seen: bool
    until: str | None = None
    old: str | None = None  # its name before version `renamed`
    renamed: str = "2.0"

    @property
    def appends(self) -> bool:
        """Whether Nix takes this setting with `extra-` before its name, too."""
        return self.kind in (Kind.LIST, Kind.MAP, Kind.PATHS)


# kind, version, and the names that came with it ("=", release notes) or were first seen in it ("≤")
_ROWS = (
    (Kind.BOOL, "≤1.11", """fallback fsync-metadata use-sqlite-wal sync-before-registering substitute
        restrict-eval impersonate-linux-26 keep-build-log compress-build-log keep-outputs keep-derivations
        auto-optimise-store keep-env-derivations show-trace use-case-hack
        allow-unsafe-native-code-during-evaluation
        gc-check-reachability keep-going keep-failed"""),
    (Kind.BOOL, "=2.0", "pure-eval http2 enforce-determinism"),
    (Kind.BOOL, "=2.3", "trace-function-calls"),
    (Kind.BOOL, "≤2.3", """builders-use-substitutes require-sigs run-diff-hook sandbox-fallback
        filter-syscalls allow-new-privileges print-missing allow-import-from-derivation"""),
    (Kind.BOOL, "≤2.8", """accept-flake-config allow-dirty allow-symlinked-store eval-cache
        preallocate-contents use-registries warn-dirty"""),
    (Kind.BOOL, "=2.10", "trace-verbose"),
    (Kind.BOOL, "=2.12", "auto-allocate-uids use-cgroups"),
    (Kind.BOOL, "=2.19", "always-allow-substitutes"),
    (Kind.BOOL, "=2.21", "debugger-on-trace"),
    (Kind.BOOL, "=2.23", "abort-on-warn debugger-on-warn"),
    (Kind.BOOL, "=2.24", """nix-shell-always-looks-for-shell-nix
        nix-shell-shebang-arguments-relative-to-script"""),
    (Kind.BOOL, "=2.25", "fsync-store-paths"),
    (Kind.BOOL, "≤2.26", """allow-dirty-locks ignore-try require-drop-supplementary-groups
        trust-tarballs-from-git-forges use-xdg-base-directories"""),
    (Kind.BOOL, "=2.31", "warn-short-path-literals"),
    (Kind.BOOL, "≤2.34", "trace-import-from-derivation"),
    (Kind.BOOL, "=2.35", "http3 filetransfer-retry-jitter"),
    (Kind.SANDBOX, "≤1.11", "sandbox"),
    (Kind.JOBS, "≤1.11", "max-jobs"),
    (Kind.INT, "≤1.11", """cores max-silent-time timeout build-poll-interval http-connections connect-timeout
        repeat"""),
    (Kind.INT, "≤2.3", "log-lines tarball-ttl narinfo-cache-negative-ttl narinfo-cache-positive-ttl"),
    (Kind.INT, "≤2.3", "min-free-check-interval stalled-download-timeout download-attempts"),
    (Kind.INT, "=2.16", "max-substitution-jobs"),
    (Kind.INT, "=2.20", "max-call-depth"),
    (Kind.INT, "≤2.26", "download-speed id-count start-id"),
    (Kind.INT, "=2.30", "eval-profiler-frequency"),
    (Kind.INT, "=2.32", "eval-attrset-update-layer-rhs-threshold"),
    (Kind.INT, "=2.34", "narinfo-cache-meta-ttl"),
    (Kind.INT, "=2.35", """filetransfer-retry-delay filetransfer-retry-delay-rate-limited
        filetransfer-retry-max-delay"""),
    (Kind.BYTES, "≤1.11", "gc-reserved-space max-build-log-size"),
    (Kind.BYTES, "=2.0", "min-free max-free"),
    (Kind.BYTES, "≤2.8", "nar-buffer-size"),
    (Kind.BYTES, "=2.23", "warn-large-path-threshold"),
    (Kind.BYTES, "≤2.26", "download-buffer-size"),
    (Kind.PATH, "≤1.11", "pre-build-hook"),
    (Kind.PATH, "=2.0", "diff-hook netrc-file"),
    (Kind.PATH, "=2.3", "post-build-hook"),
    (Kind.PATH, "≤2.3", "sandbox-build-dir"),
    (Kind.PATH, "≤2.26", "build-dir ssl-cert-file"),
    (Kind.PATH, "=2.30", "json-log-path eval-profile-file"),
    (Kind.PATHS, "≤1.11", "sandbox-paths allowed-impure-host-deps"),
    (Kind.TEXT, "≤1.11", "build-users-group system sandbox-dev-shm-size"),
    (Kind.TEXT, "=2.0", "builders build-hook store"),
    (Kind.TEXT, "≤2.3", "user-agent-suffix"),
    (Kind.TEXT, "=2.6", "commit-lock-file-summary"),
    (Kind.TEXT, "≤2.8", "bash-prompt bash-prompt-suffix flake-registry"),
    (Kind.TEXT, "=2.20", "eval-system"),
    (Kind.TEXT, "≤2.26", "bash-prompt-prefix upgrade-nix-store-path-url"),
    (Kind.TEXT, "=2.30", "eval-profiler"),
    (Kind.TEXT, "=2.32", "external-builders"),
    (Kind.TEXT, "=2.34", "lint-absolute-path-literals lint-short-path-literals lint-url-literals"),
    (Kind.LIST, "≤1.11", "substituters trusted-substituters trusted-public-keys secret-key-files"),
    (Kind.LIST, "=1.8", "allowed-users trusted-users"),
    (Kind.LIST, "=2.0", "allowed-uris plugin-files"),
    (Kind.LIST, "=2.2", "system-features"),
    (Kind.LIST, "≤2.3", "extra-platforms hashed-mirrors nix-path"),
    (Kind.LIST, "=2.4", "experimental-features"),
    (Kind.LIST, "≤2.8", "ignored-acls"),
    (Kind.MAP, "≤2.8", "access-tokens"),
    (Kind.MAP, "≤2.26", "impure-env"),
)  # fmt: skip

# The names of Nix 1.x (rl-2.0: "Many configuration options have been renamed"), which 2.x still takes. 1.11
# took "sandbox" for "chroot" in the first two, and the older names as well (rl-1.11).
_OLD = {
    "sandbox": "build-use-chroot",
    "sandbox-paths": "build-chroot-dirs",
    "max-jobs": "build-max-jobs",
    "cores": "build-cores",
    "max-silent-time": "build-max-silent-time",
    "timeout": "build-timeout",
    "fallback": "build-fallback",
    "substitute": "build-use-substitutes",
    "impersonate-linux-26": "build-impersonate-linux-26",
    "keep-build-log": "build-keep-log",
    "compress-build-log": "build-compress-log",
    "max-build-log-size": "build-max-log-size",
    "repeat": "build-repeat",
    "keep-outputs": "gc-keep-outputs",
    "keep-derivations": "gc-keep-derivations",
    "keep-env-derivations": "env-keep-derivations",
    "substituters": "binary-caches",
    "trusted-substituters": "trusted-binary-caches",
    "trusted-public-keys": "binary-cache-public-keys",
    "http-connections": "binary-caches-parallel-connections",
}
# Renamed later: the old name, and the first version that is known to have the new one.
_RENAMED = {"commit-lock-file-summary": ("commit-lockfile-summary", "2.26")}
# Gone again (rl-2.13; the other was there in 2.3 and not in 2.8).
_UNTIL = {"repeat": "2.13", "enforce-determinism": "2.13", "gc-check-reachability": "2.8"}
# More names that some Nix takes for a setting.
ALIASES = {
    "build-use-sandbox": "sandbox",
    "build-sandbox-paths": "sandbox-paths",
    "substitution-max-jobs": "max-substitution-jobs",
    "filetransfer-retry-attempts": "download-attempts",
    "enable-http2": "http2",
}
# `extra-` before 2.4 (the sources of 2.3): settings of their own, and no others.
EXTRA = {
    "sandbox-paths": ("build-extra-chroot-dirs", "extra-sandbox-paths"),
    "substituters": ("extra-binary-caches", "extra-substituters"),
}


def _table() -> dict[str, Setting]:
    table = {}
    for kind, since, names in _ROWS:
        for name in names.split():
            old, renamed = _RENAMED.get(name, (_OLD.get(name), "2.0"))
            seen = since.startswith("≤")
            table[name] = Setting(name, kind, since[1:], seen, _UNTIL.get(name), old, renamed)
    return table


SETTINGS = _table()
