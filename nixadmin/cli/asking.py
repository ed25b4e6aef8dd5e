"""yes, no, or explain."""

import sys
from collections.abc import Callable

from nixadmin.errors import UsageError


def check_can_ask(verb: str) -> None:
    """Raise UsageError when nobody is there to be asked."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(
            f"{verb} asks before it changes anything, and there is no terminal to ask on",
            f"see what it would do with `nixadmin plan`, then say yes: nixadmin {verb} --yes",
        )


def agreed(question: str, explain: Callable[[], None] | None = None) -> bool:
    """Ask on the terminal until the answer is yes or no; the end of input is a no.

    `explain` is called when the answer is that.
    """
    choices = "[y]es, [n]o" + (", [e]xplain" if explain else "")
    while True:
        print(f"{question} {choices}: ", end="", file=sys.stderr, flush=True)
        try:
            answer = sys.stdin.readline()
        except OSError:  # the terminal is gone
            answer = ""
        match answer.strip().lower():
            case "y" | "yes":
                return True
            case "n" | "no":
                return False
            case "e" | "explain" if explain:
                explain()
            case _ if not answer:
                print(file=sys.stderr)
                return False
