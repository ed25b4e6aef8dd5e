"""The completion scripts, in the shells that read them."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("completion")
    for shell in ("bash", "zsh", "fish", "tcsh"):
        words = [sys.executable, "-m", "nixadmin", "completion", shell]
        (home / shell).write_bytes(subprocess.run(words, capture_output=True, check=True).stdout)
    return home


def bash(scripts: Path, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    typed = " ".join(f"'{word}'" for word in ("nixadmin", *words))
    script = f"""
        source {scripts}/bash
        COMP_WORDS=({typed}) COMP_CWORD={len(words)} COMP_LINE="{" ".join(("nixadmin", *words))}"
        COMP_POINT=${{#COMP_LINE}}
        $(complete -p nixadmin | sed 's/.*-F \\([^ ]*\\).*/\\1/')
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return [word.strip() for word in done.stdout.splitlines() if word.strip()]


def test_bash_completes_verbs_and_flags(scripts: Path) -> None:
    assert {"plan", "provision", "verify", "uninstall"} <= set(bash(scripts, ""))
    assert bash(scripts, "pro") == ["provision"]
    assert bash(scripts, "plan", "--build-u") == ["--build-users"]
    assert bash(scripts, "uninstall", "--pur") == ["--purge-store"]
    assert "--purge-store" not in bash(scripts, "plan", "--")


def test_bash_completes_values(scripts: Path) -> None:
    assert set(bash(scripts, "plan", "--init", "")) == {"auto", "systemd", "sysvinit", "none"}
    assert set(bash(scripts, "completion", "")) >= {"bash", "zsh", "fish", "tcsh"}
    assert "/etc/passwd" in bash(scripts, "plan", "--config", "/etc/passw")


def test_fish_completes(scripts: Path) -> None:
    script = f"source {scripts}/fish; complete --do-complete 'nixadmin uninstall --pur'"
    done = subprocess.run(["fish", "--no-config", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("--purge-store") and done.stderr == ""


def test_zsh_completes(scripts: Path) -> None:
    """Typed into a zsh on a terminal of its own: zsh completes nowhere else."""
    (scripts / "_nixadmin").write_bytes((scripts / "zsh").read_bytes())
    script = f"""
        zmodload zsh/zpty
        zpty shell 'PS1= zsh -f -i'
        zpty -w shell 'fpath=({scripts} $fpath); autoload -Uz compinit; compinit -D -u; echo re''ady'
        zpty -r shell said '*ready*ready*' || zpty -r shell said '*ready*'
        zpty -w -n shell 'nixadmin uninstall --pur'$'\\t'
        zpty -r shell said '*--purge-store*' && print -r -- "$said"
    """
    done = subprocess.run(["zsh", "-f", "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert "--purge-store" in done.stdout
