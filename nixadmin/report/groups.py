"""Under which heading an administrator looks for a resource."""

from pathlib import Path

from nixadmin.engine.resource import Resource

OTHER = "Other"

# In the order in which headings are printed. A resource belongs to the heading that names its kind; else to
# the one that holds the longest beginning of its path.
HEADINGS: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "Packages": (frozenset({"packages"}), ()),
    "Accounts": (frozenset({"pool"}), ("/var/empty",)),
    "Store": (frozenset({"store-paths", "profile"}), ("/nix",)),
    "Configuration": (frozenset(), ("/etc/nix",)),
    "Sandbox": (frozenset(), ("/usr/local",)),
    "Daemon": (
        frozenset({"service", "definition"}),
        ("/etc/systemd", "/etc/init.d", "/etc/default", "/etc/tmpfiles.d", "/etc/conf.d"),
    ),
    "Login": (
        frozenset(),
        (
            *("/etc/profile.d", "/etc/bash.bashrc", "/etc/bashrc", "/etc/bash", "/etc/zsh", "/etc/zshenv"),
            *("/etc/zshrc", "/etc/fish", "/etc/environment.d", "/etc/sudoers.d", "/root", "/home"),
        ),
    ),
    OTHER: (frozenset(), ()),
}


def heading(resource: Resource) -> str:
    """The heading of one resource."""
    for name, (kinds, _) in HEADINGS.items():
        if resource.kind in kinds:
            return name
    path = path_of(resource)
    if path is None:
        return OTHER
    beginnings = [
        (len(beginning), name)
        for name, (_, paths) in HEADINGS.items()
        for beginning in paths
        if path.is_relative_to(beginning)
    ]
    return max(beginnings)[1] if beginnings else OTHER


def path_of(resource: Resource) -> Path | None:
    """Where the resource is, if it is at one place."""
    path = getattr(resource, "path", None)
    return path if isinstance(path, Path) else None
