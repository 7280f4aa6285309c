"""The exit codes of `tessera`, which scripts rely on."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum

from tessera_client.errors import InsufficientCredits, ServerError, TransferError, Unauthorized, Unreachable


class Exit(IntEnum):
    DONE = 0
    FAILED = 1  # at least one file or the one thing asked for
    USAGE = 2
    AUTH = 3  # the key is missing, wrong or not allowed to do this
    CREDITS = 4
    UNREACHABLE = 5  # server or storage cannot be reached, or is out of order
    INTERRUPTED = 130


def exit_of(error: BaseException) -> Exit:
    match error:
        case Unauthorized():
            return Exit.AUTH
        case InsufficientCredits():
            return Exit.CREDITS
        case Unreachable() | ServerError():
            return Exit.UNREACHABLE
        case TransferError() if error.passing:
            return Exit.UNREACHABLE
        case _:
            return Exit.FAILED


def exit_of_all(errors: Iterable[BaseException]) -> Exit:
    """One code for many files: what the user has to mend first wins."""
    codes = {exit_of(error) for error in errors}
    order = (Exit.AUTH, Exit.CREDITS, Exit.UNREACHABLE, Exit.FAILED)
    return next((code for code in order if code in codes), Exit.DONE)
