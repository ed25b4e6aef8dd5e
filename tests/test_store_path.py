"""Store paths: which names there are, and the ones that Nix itself computes."""

import os
import subprocess
from pathlib import Path

import pytest

from nixadmin.errors import NixadminError
from nixadmin.nix import nar
from nixadmin.nix.registration import Registration, render
from nixadmin.nix.store_path import StorePath, content_addressed

DIGEST = "mjp33aspphv5syz8xpcjfi41g33kbzk0"


def nix_store(root: Path, *words: str | Path, stdin: str = "", nix: str = "nix-store") -> str:
    """Run a program of Nix on a store below `root`: its paths are called /nix/store all the same."""
    environment = os.environ | {"NIX_CONF_DIR": str(root / "etc"), "HOME": str(root), "NIX_REMOTE": ""}
    features = "experimental-features = nix-command\nbuild-users-group =\n"
    environment["NIX_CONFIG"] = features
    command = [nix, *map(str, words), "--store", str(root)]
    done = subprocess.run(command, check=False, env=environment, input=stdin, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def make_tree(tree: Path, words: str) -> None:
    (tree / "bin").mkdir(parents=True)
    (tree / "bin/x").write_text(f"#!/bin/sh\n{words}\n")
    (tree / "bin/x").chmod(0o755)
    (tree / "empty").touch()
    (tree / "link").symlink_to(words.split()[0])


def test_as_nix_adds_a_path(tmp_path: Path) -> None:
    make_tree(tmp_path / "some-thing", "/bin/true more")
    added = nix_store(tmp_path / "root", "--add", tmp_path / "some-thing").strip()
    hashed = nar.hash_path(tmp_path / "some-thing")
    assert content_addressed(hashed.sha256, "some-thing").absolute() == added


@pytest.mark.parametrize("with_other", [False, True])
def test_as_nix_makes_a_path_that_refers_to_itself_content_addressed(tmp_path: Path, with_other: bool) -> None:
    root = tmp_path / "root"
    registrations = []
    references: list[StorePath] = []
    words = f"/nix/store/{DIGEST}-self/bin/x {DIGEST} {DIGEST}{DIGEST}"
    if with_other:
        make_tree(tmp_path / "other", "nothing")
        hashed = nar.hash_path(tmp_path / "other")
        # Already content-addressed, so that its name stays.
        references.append(content_addressed(hashed.sha256, "other"))
        registrations.append(Registration(references[0], hashed.sha256, hashed.size))
        words += f" {references[0].absolute()}"
    path = StorePath(DIGEST, "self")
    make_tree(tmp_path / "self", words)
    whole = nar.hash_path(tmp_path / "self")
    registrations.append(Registration(path, whole.sha256, whole.size, (path, *references)))
    store = root / "nix/store"
    store.mkdir(parents=True)
    for one in registrations:
        subprocess.run(["cp", "-RP", tmp_path / one.path.name, store / str(one.path)], check=True)
    nix_store(root, "--load-db", stdin=render(registrations))
    rewritten = nix_store(root, "store", "make-content-addressed", "--json", path.absolute(), nix="nix")
    modulo = nar.hash_modulo(tmp_path / "self", DIGEST)
    expected = content_addressed(modulo.sha256, "self", tuple(references), self_reference=True)
    assert f'"{expected.absolute()}"' in rewritten
    assert modulo.size == whole.size


@pytest.mark.parametrize("name", [f"{DIGEST}-nix", f"{DIGEST}-a+b?c=d_e.f-1", f"{DIGEST}-{'x' * 211}"])
def test_a_name(name: str) -> None:
    assert str(StorePath.parse(name)) == name
    assert StorePath.parse_absolute(f"/nix/store/{name}").absolute() == f"/nix/store/{name}"


@pytest.mark.parametrize(
    "name",
    [
        *("", "nix", f"{DIGEST}-", DIGEST, f"{DIGEST}-.", f"{DIGEST}-..", f"{DIGEST}-a/b", f"{DIGEST}-a\n"),
        *(f"{DIGEST}-a b", f"{DIGEST[:-1]}-a", f"{DIGEST[:-1]}e-a", f"{DIGEST}-{'x' * 212}", f"{DIGEST}-ä"),
        *(f"../{DIGEST}-a", f"{DIGEST}-a\0"),
    ],
)
def test_no_name(name: str) -> None:
    with pytest.raises(NixadminError, match="is not the name of a store path"):
        StorePath.parse(name)


@pytest.mark.parametrize("path", [f"/gnu/store/{DIGEST}-a", f"nix/store/{DIGEST}-a", f"/nix/store{DIGEST}-a"])
def test_another_store(path: str) -> None:
    with pytest.raises(NixadminError, match="is not in the store"):
        StorePath.parse_absolute(path)
