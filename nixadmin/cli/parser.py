"""The parser. A verb's own part is built when that verb is typed, and not before."""

import sys
from argparse import (
    OPTIONAL,
    PARSER,
    SUPPRESS,
    Action,
    ArgumentParser,
    HelpFormatter,
    Namespace,
    _SubParsersAction,
)
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any, NoReturn

from nixadmin import __doc__ as summary
from nixadmin import __version__
from nixadmin.cli.lightly import override
from nixadmin.cli.registry import OTHER_WORDS, VERBS, load
from nixadmin.errors import UsageError

EPILOG = """\
start here:
  nixadmin plan               see what would change; this changes nothing
  sudo nixadmin provision     do it, after asking
  nixadmin VERB --help        what a verb does, with examples

exit codes: 0 as declared, 1 failed, 2 wrong usage, 3 the host differs"""


class Formatter(HelpFormatter):
    """Help with room for long flags; a paragraph with indented lines keeps its lines."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26)

    @override
    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = text.split("\n\n")
        return "\n\n".join(
            part if "\n  " in part else super(Formatter, self)._fill_text(part, width, indent) for part in paragraphs
        )

    @override
    def _format_action(self, action: Action) -> str:
        text = super()._format_action(action)
        # The verbs need no line of their own above them.
        return text.partition("\n")[2] if action.nargs == PARSER else text


class Parser(ArgumentParser):
    """An ArgumentParser whose complaints are UsageErrors, and that builds itself when it is first needed."""

    def __init__(self, *, verb: str | None = None, **options: Any) -> None:  # noqa: ANN401 - argparse's own
        options.update(allow_abbrev=False, formatter_class=Formatter)
        super().__init__(**options)
        self._verb = verb

    def build(self) -> None:
        """Add what belongs to the verb, once."""
        if self._verb is not None:
            verb = load(self._verb)
            self._verb = None
            self.description = verb.DESCRIPTION
            self.epilog = f"examples:\n{verb.EXAMPLES}"
            verb.declare(self)
            self.usage = f"{self.prog} {self._usage()}"

    def _usage(self) -> str:
        """The usage without the flags that may be left out: help lists those."""
        words = ["[OPTION]…"]
        for action in self._actions:
            if action.option_strings and action.required:
                words.append(f"{action.option_strings[-1]} {action.metavar}")
            elif not action.option_strings:
                words.append(f"[{action.metavar}]" if action.nargs == OPTIONAL else str(action.metavar))
        return " ".join(words)

    @override
    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # noqa: ANN401 - argparse's own
        self.build()
        return super().parse_known_args(args, namespace)

    @override
    def _print_message(self, message: str, file: IO[str] | None = None) -> None:  # type: ignore[override]
        # argparse's own says nothing when there is no room for it.
        (file or sys.stderr).write(message)

    @override
    def error(self, message: str) -> NoReturn:
        raise UsageError(message.removeprefix("argument "), f"see: {self.prog} --help")

    def options(self) -> list[str]:
        """Every flag, as it is typed."""
        return [flag for action in self._actions if action.help != SUPPRESS for flag in action.option_strings]


def top() -> Parser:
    """The parser of the program; its verbs are still unbuilt."""
    parser = Parser(prog="nixadmin", description=summary, epilog=EPILOG, usage="nixadmin [--root DIR] VERB …")
    parser.add_argument("--version", action="version", version=f"nixadmin {__version__}")
    add_root(parser, default=None)
    verbs = parser.add_subparsers(prog="nixadmin", dest="verb", metavar="VERB", title="verbs", parser_class=Parser)
    for name, help_ in VERBS.items():
        verbs.add_parser(name, help=help_, verb=name)
    return parser


def add_root(parser: ArgumentParser, default: object = SUPPRESS) -> None:
    """`--root`, which may stand before and after the verb."""
    parser.add_argument(
        "--root", metavar="DIR", default=default, help="work on the directory DIR as if it were the host"
    )


def verbs_of(parser: Parser) -> dict[str, Parser]:
    """The verbs' parsers, by name."""
    found: dict[str, Parser] = {}
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            found |= action.choices
    return found


def whole() -> Parser:
    """The parser with every verb built: for the manual page and the completions."""
    parser = top()
    for verb in verbs_of(parser).values():
        verb.build()
    return parser


def actions(parser: Parser) -> Iterator[Action]:
    """Every flag and argument of a whole parser."""
    for action in parser._actions:
        yield action
        if isinstance(action, _SubParsersAction):
            for verb in action.choices.values():
                yield from actions(verb)


def parse(argv: Sequence[str]) -> Namespace:
    """What the command line asks for. Raises UsageError with a suggestion where one is near."""
    parser = top()
    verbs = verbs_of(parser)
    _check_verb(argv, parser.options(), verbs)
    asked: Namespace
    asked, unknown = parser.parse_known_args(argv)
    if unknown:
        _refuse(unknown[0], verbs[asked.verb])
    return asked


def _check_verb(argv: Sequence[str], flags: Iterable[str], verbs: Iterable[str]) -> None:
    """See that the first word which is no flag is a verb."""
    words = iter(argv)
    for word in words:
        name, equals, _ = word.partition("=")
        if name == "--root" and not equals:
            next(words, None)
        elif not word.startswith("-"):
            if word not in verbs:
                raise _no_verb(word, verbs)
            return
        elif name not in flags:
            raise UsageError(
                f"there is no option {name} before the verb", f"write it after the verb: nixadmin VERB {word}"
            )


def _no_verb(word: str, verbs: Iterable[str]) -> UsageError:
    # Other programs' words are compared too, lest `instal` be taken for `uninstall`.
    near = nearest(word, [*verbs, *OTHER_WORDS])
    guess = f"did you mean: nixadmin {OTHER_WORDS.get(near, near)}? " if near else ""
    return UsageError(f"there is no verb `{word}`", f"{guess}see: nixadmin --help")


def _refuse(word: str, verb: Parser) -> NoReturn:
    name = word.partition("=")[0]
    if not word.startswith("-"):
        raise UsageError(f"`{word}` is one word too many", f"see: {verb.prog} --help")
    guess = nearest(name, verb.options())
    raise UsageError(
        f"there is no option {name}",
        (f"did you mean {guess}? " if guess else "") + f"see: {verb.prog} --help",
    )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The one of `known` that was probably meant."""
    import difflib

    return next(iter(difflib.get_close_matches(word, list(known), n=1)), None)
