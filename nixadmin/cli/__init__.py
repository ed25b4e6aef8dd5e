"""The command line: one file per verb; parsing and exit codes live here and nowhere else."""

import gc
import signal
import sys
from collections.abc import Sequence

from nixadmin.cli import failing
from nixadmin.cli.failing import AS_DECLARED, FAILED, SIGNALLED, USAGE, StoppedBySignal
from nixadmin.errors import NixadminError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code; a bug shows its traceback."""
    failing.steady_streams()
    failing.listen()
    code = _guarded(sys.argv[1:] if argv is None else argv)
    if argv is None:
        # The process ends: Python would look for garbage in all that it holds, which takes a tenth of a run.
        gc.freeze()
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        failing.mute(sys.stdout)
        return code or SIGNALLED + signal.SIGPIPE
    except OSError as error:
        failing.mute(sys.stdout)
        failing.complain([NixadminError(f"cannot write the result: {error.strerror}", "write it elsewhere")])
        return code or FAILED
    return code


def _guarded(argv: Sequence[str]) -> int:
    """Run it, and turn every expected end into a message and an exit code."""
    try:
        return _run(argv)
    except NixadminError as error:
        failing.complain([error])
        return failing.exit_code(error)
    except (KeyboardInterrupt, StoppedBySignal) as stop:
        failing.complain([NixadminError("stopped", "run it again to continue")])
        return SIGNALLED + (stop.number if isinstance(stop, StoppedBySignal) else signal.SIGINT)
    except BrokenPipeError:
        return SIGNALLED + signal.SIGPIPE
    except OSError as error:
        refusal = failing.of_the_machine(error)
        if refusal is None:
            raise
        failing.complain([refusal])
        return FAILED


def _run(argv: Sequence[str]) -> int:
    from nixadmin.cli.parser import parse, top
    from nixadmin.cli.registry import load

    try:
        asked = parse(argv)
    except SystemExit:  # argparse has printed what --help or --version asks for
        return AS_DECLARED
    if asked.verb is None:
        top().print_help(sys.stderr)
        return USAGE
    return load(asked.verb).run(asked)
