"""A Nix that already lives in a store: its closure, as it is."""

from pathlib import Path

from nixadmin.bundle.source import Source
from nixadmin.bundle.staging import Staging
from nixadmin.host import processes
from nixadmin.nix import registration
from nixadmin.nix.store_path import STORE, StorePath


def stage(source: Source, staging: Staging) -> StorePath:
    """Add the closure of a Nix in the store, with the registrations it has there."""
    top = StorePath.parse(source.program.relative_to(STORE).parts[0])
    nix_store = source.program.parent / "nix-store"
    closure = processes.run([nix_store, "--query", "--requisites", top.absolute()]).out.split()
    for one in registration.parse(processes.run([nix_store, "--dump-db", *closure]).out):
        staging.adopt(one, Path(one.path.absolute()))
    return top
