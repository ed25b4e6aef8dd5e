"""What a bundle is and holds."""

from collections.abc import Iterator
from typing import Any

from nixadmin.bundle import Bundle
from nixadmin.report.paper import Line, columns, counted, size


def lines(bundle: Bundle) -> Iterator[Line]:
    """Its name, what is in it, its digest, and how it is used."""
    yield Line(f"{bundle.path}: Nix {bundle.version} for {bundle.system}", "good")
    facts = [
        ("size", f"{size(bundle.size)}, {size(bundle.unpacked_size)} unpacked"),
        ("holds", counted(len(bundle.paths), "store path")),
        ("sha256", bundle.sha256),
    ]
    yield from columns(facts)
    yield Line(f"Use it: nixadmin provision --nix {bundle.path} --sha256 {bundle.sha256}")


def data(bundle: Bundle) -> dict[str, Any]:
    """The same for programs; sizes are in bytes."""
    return {
        "path": str(bundle.path),
        "version": bundle.version,
        "system": bundle.system,
        "sha256": bundle.sha256,
        "size": bundle.size,
        "unpacked_size": bundle.unpacked_size,
        "store_paths": [str(path) for path in bundle.paths],
    }
