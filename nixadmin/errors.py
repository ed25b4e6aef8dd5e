"""Errors a person can act on."""


class NixadminError(Exception):
    """An expected failure: what is (the message), and what to do about it (the hint)."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(NixadminError):
    """The command line, the environment or the configuration file asks for something that cannot be."""


class ConflictError(NixadminError):
    """The host holds something nixadmin did not put there and will not overwrite."""


class SourceError(NixadminError):
    """What Nix was to come from proved to be unusable when it was read."""


class NotConvergedError(NixadminError):
    """Every step succeeded, yet the host is still not as declared."""
