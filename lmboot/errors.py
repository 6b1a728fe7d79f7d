"""The one tree of what can go wrong; foreign exceptions are turned into these where they arise.

* LmbootError                     exit code, a sentence, and a hint that says what to do
  + UsageFault                2   wrong usage
    - FileUnreadable          2   a file that can't be read, or is not what it is taken for
    - ConsentImpossible       2   nobody can be asked, and --yes was not given
  + PayloadRejected           1   the model answered, but no valid payload came
  + ConnectionFault           3   something between lmboot and the model
    - NoServer                3   nothing answers at that address, or something else does
    - TokenRefused            3   the server wants a token, or another one
    - NoSuchModel             3   the server does not list it
    - NothingLoaded           3   the server has no model ready, or could not load it
    - ConnectionLost          3   the stream ended before the answer did
    - ContextOverflow         3   the prompt does not fit the loaded context
    - EngineFailed            3   lmboot's own llama.cpp could not start, or died
    - ServerRefused           3   any other error that a server reported
  + SandboxFault              4   no usable sandbox, or it could not be set up
    - AuditFault              4   the audit log can't be written: what asked for it is denied
  + RuntimeFault              5   the runtime failed, hit a limit, or could not be stopped cleanly
    - OperationRefused        5   the host did not perform an operation that a guest asked for
    + WorkerFault             5   a call into a worker brought nothing back: the worker is lost
      - CallFailed            5   the function that was called raised an exception
      - CallLimit             5   a call went over a limit, which ended its worker
  + Interrupted             130   the user pressed Ctrl+C

The message says what happened and what it means; `hint` says what to do.
"""

from __future__ import annotations

from typing import ClassVar


class LmbootError(Exception):
    """Something went wrong that a person can understand and act on."""

    exit_code: ClassVar[int] = 1
    hint: str = ""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        if hint is not None:
            self.hint = hint

    @property
    def in_full(self) -> str:
        """Return the message and the hint as sentences in one line."""
        return " ".join(f"{part.rstrip('.')}." for part in (str(self), self.hint) if part)


class UsageFault(LmbootError):
    """The command was used in a way that can't be carried out."""

    exit_code = 2


class FileUnreadable(UsageFault):
    """A file can't be read, or is not what it is taken for."""


class ConsentImpossible(UsageFault):
    """Nobody can be asked: no terminal, and no --yes."""


class PayloadRejected(LmbootError):
    """The model answered, but no valid payload came after all rounds."""

    exit_code = 1


class ConnectionFault(LmbootError):
    """Something between lmboot and the model failed."""

    exit_code = 3


class NoServer(ConnectionFault):
    """Nothing answers at the address, or something that is no model server."""


class TokenRefused(ConnectionFault):
    """The server wants a token, or refused the one it was given."""


class NoSuchModel(ConnectionFault):
    """The server does not list the model that was asked for."""


class NothingLoaded(ConnectionFault):
    """The server has no model ready, or could not load it."""


class ConnectionLost(ConnectionFault):
    """The stream ended before the answer did; `text` is what had come."""

    def __init__(self, message: str, *, hint: str | None = None, text: str = "") -> None:
        super().__init__(message, hint=hint)
        self.text = text


class ContextOverflow(ConnectionFault):
    """The prompt does not fit into the context that the model is loaded with."""


class EngineFailed(ConnectionFault):
    """lmboot's own llama.cpp could not start, or died."""


class ServerRefused(ConnectionFault):
    """A server reported an error that has no class of its own."""


class SandboxFault(LmbootError):
    """No usable sandbox, or it could not be set up; nothing was run."""

    exit_code = 4


class AuditFault(SandboxFault):
    """The audit log can't be written, so what was to be recorded must not happen.

    A sandbox's fault, because the log is a part of the border: without it nothing passes.
    """

    hint = "Free some space or mend the folder's permissions; until then nothing is allowed."


class RuntimeFault(LmbootError):
    """The runtime failed, hit a limit, or could not be stopped cleanly."""

    exit_code = 5


class OperationRefused(RuntimeFault):
    """The host did not perform an operation; the guest is told the message and the `code`.

    Neither holds anything of the host's that the guest did not name itself.
    """

    def __init__(self, message: str, *, hint: str | None = None, code: str = "failed") -> None:
        super().__init__(message, hint=hint)
        self.code = code


class WorkerFault(RuntimeFault):
    """A call brought nothing back: its worker ended, broke the protocol, or could not be had.

    Whether the function had an effect before that, nobody knows; the call is not repeated.
    """

    hint = "The next call gets a new worker, which remembers nothing of this one."


class CallFailed(WorkerFault):
    """The function raised an exception: its class's name, its message, its own frames.

    All three are the sandbox's text, cut and made harmless; the worker lives on.
    """

    hint = "The traceback says where; the worker goes on, with what it remembers."

    def __init__(
        self, message: str, *, hint: str | None = None, kind: str = "", traceback: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.kind, self.traceback = kind, traceback


class CallLimit(WorkerFault):
    """A call went over a limit, which ended its worker; `limit` is that limit's name."""

    hint = "Have the function do less, or raise that limit; the next call gets a new worker."

    def __init__(self, message: str, *, hint: str | None = None, limit: str = "") -> None:
        super().__init__(message, hint=hint)
        self.limit = limit


class Interrupted(LmbootError):
    """The user pressed Ctrl+C."""

    exit_code = 130
