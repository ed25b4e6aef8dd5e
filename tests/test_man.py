"""The manual page, as groff sets it."""

import shutil
import subprocess
import sys

import pytest

from nixadmin.cli.fields import flag
from nixadmin.cli.registry import VERBS
from nixadmin.config import Config


@pytest.fixture(scope="module")
def source() -> str:
    words = [sys.executable, "-m", "nixadmin", "man"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def test_it_names_every_verb_flag_and_section(source: str) -> None:
    plain = source.replace("\\-", "-")
    assert plain.startswith('.TH NIXADMIN "8"')
    for verb in VERBS:
        assert f".SS \\fBnixadmin {verb}\\fR" in plain
    for name in Config.model_fields:
        assert plain.count(f"\\fB{flag(name)}\\fR") == 1
    for section in ("SYNOPSIS", "DESCRIPTION", "EXAMPLES", "EXIT STATUS", "ENVIRONMENT", "FILES"):
        assert f".SH {section}" in plain


def test_groff_sets_it_without_a_warning(source: str) -> None:
    assert shutil.which("groff"), "groff is not installed (package groff-base)"
    words = ["groff", "-Wall", "-ww", "-Wbreak", "-man", "-Tutf8", "-Kutf8"]
    done = subprocess.run(words, input=source, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "provision and administer multi-user Nix" in done.stdout
    assert "sudo nixadmin provision --yes --build-users 8" in done.stdout
