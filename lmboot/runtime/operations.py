"""What an operation is to the broker, and those that need nothing but this process.

An operation declares its arguments; the broker checks them before any other of its code runs.
`perform` is the real thing, `emulate` a stand-in that knows nothing of the host.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from lmboot.errors import OperationRefused
from lmboot.runtime.asking import Question
from lmboot.text import brief, plain

SHORT_BYTES = 4096  # what a text argument may have unless its operation says otherwise
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,199}", re.ASCII)
EMULATED_TIME = 946_684_800.0  # 2000-01-01T00:00:00Z, always
EMULATED_ENV: Mapping[str, str] = {"HOME": "/app", "LANG": "C.UTF-8", "USER": "guest"}


class Refused(OperationRefused):
    """The operation is not done, for a reason that a guest may read: no paths, no tracebacks."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message, code=code)


class RouteChanged(Refused):
    """The route became stricter before the effect, which has not happened."""

    def __init__(self) -> None:
        super().__init__("route_changed", "the route was changed before it was done")


class Permit(Protocol):
    """What a person has granted and a request rests on."""

    def holds(self) -> bool:
        """Say whether it is granted still; from any thread."""

    def done(self) -> None:
        """Take note that the request is answered: what was granted for it alone ends."""


class Context(Protocol):
    """What an operation knows of its request."""

    @property
    def permit(self) -> Permit | None:
        """Return what the request rests on; None where it needs no grant, or nobody judged it."""

    def commit(self) -> None:
        """Call right before the effect, from any thread; raises RouteChanged: then leave it.

        After it the effect counts as done. An operation that never calls it has none but its
        result, which is withheld when the route has changed.
        """

    def redirected(self, url: str) -> None:
        """Take note that a server sent the request on to there, allowed or not: for the record."""


class Operation(Protocol):
    """One thing that the broker can do for a guest."""

    @property
    def name(self) -> str:
        """Return the name in the table of operations."""

    @property
    def arguments(self) -> Mapping[str, Argument]:
        """Return the arguments by name; others are refused, and what has no default is due."""

    @property
    def emulates(self) -> bool:
        """Say whether `emulate` can be called."""

    @property
    def cancellable(self) -> bool:
        """Say whether `perform` may be cancelled where it waits, even after its commit."""

    async def perform(self, args: dict[str, Any], context: Context) -> Any:
        """Do it and return a JSON value; raise Refused for a reason that the guest may read."""

    async def emulate(self, args: dict[str, Any]) -> Any:
        """Return what `perform` could have, from the arguments alone."""


@runtime_checkable
class Ready(Protocol):
    """An operation that can often be performed without waiting for anything."""

    def at_once(self, args: dict[str, Any], context: Context) -> Any:
        """Do what `perform` does, in the event loop.

        Raises BlockingIOError where that could mean waiting: then nothing has happened.
        """


@runtime_checkable
class Needing(Protocol):
    """An operation that is performed only where a person has granted it; others need nothing."""

    def needs(self, args: dict[str, Any]) -> Question | None:
        """Return what these arguments need, as the question for it; None: nothing.

        Raises Refused for what no grant would allow.
        """


@dataclass(frozen=True, slots=True)
class Text:
    """A text of at most so many bytes of UTF-8; default None: it has to be given."""

    most: int = SHORT_BYTES
    default: str | None = None

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value."""
        if not isinstance(value, str):
            return "is not a text"
        if len(value) > self.most or len(value.encode()) > self.most:
            return f"is longer than {self.most:,} bytes"
        return None


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number in a range, ends included; true and 1.0 are none."""

    least: int
    most: int
    default: int | None = None

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value."""
        if type(value) is not int:
            return "is not a whole number"
        if not self.least <= value <= self.most:
            return f"is not from {self.least:,} to {self.most:,}"
        return None


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false."""

    default: bool | None = None

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value."""
        return None if isinstance(value, bool) else "is not true or false"


@dataclass(frozen=True, slots=True)
class Texts:
    """A list of texts."""

    most: int
    each: Text = Text()
    default: tuple[str, ...] | None = None

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value."""
        if not isinstance(value, list):
            return "is not a list"
        if len(value) > self.most:
            return f"has more than {self.most:,} parts"
        faults = ((number, self.each.fault(part)) for number, part in enumerate(value))
        return next(
            (f"has a part ({number}) that {fault}" for number, fault in faults if fault), None
        )


@dataclass(frozen=True, slots=True)
class Values:
    """A list of plain values: null, true, false, numbers, texts."""

    most: int
    default: tuple[object, ...] | None = None

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value."""
        if not isinstance(value, list):
            return "is not a list"
        if len(value) > self.most:
            return f"has more than {self.most:,} parts"
        plain_ones = all(
            part is None or isinstance(part, bool | int | float | str) for part in value
        )
        return None if plain_ones else "has a part that is no plain value"


@dataclass(frozen=True, slots=True)
class Files:
    """An object from paths to texts; the paths are judged by who uses them."""

    most: int
    each: Text = Text()
    default: Mapping[str, str] | None = None

    def fault(self, value: Any) -> str | None:
        """Return what is wrong with a value."""
        if not isinstance(value, dict):
            return "is not an object"
        if len(value) > self.most:
            return f"has more than {self.most:,} members"
        return next(
            (
                f"has a text that {fault}"
                for fault in map(self.each.fault, value.values())
                if fault
            ),
            None,
        )


Argument = Text | Whole | Flag | Texts | Values | Files


def checked(arguments: Mapping[str, Argument], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every argument, defaults filled in; raise Refused for the first that does not fit."""
    if not given.keys() <= arguments.keys():
        unknown = min(given.keys() - arguments.keys())
        raise Refused("bad_argument", f"there is no argument {brief(unknown, 60)!r}")
    values: dict[str, Any] = {}
    for name, argument in arguments.items():
        values[name] = given.get(name, argument.default)
        if name not in given and argument.default is None:
            raise Refused("bad_argument", f"{name} is missing")
        if name in given and (fault := argument.fault(given[name])):
            raise Refused("bad_argument", f"{name} {fault}")
    return values


@dataclass(frozen=True)
class Time:
    """The host's time and how far it is from UTC here, in seconds: it tells about the person."""

    name: ClassVar[str] = "time"
    arguments: ClassVar[Mapping[str, Argument]] = {}
    emulates: ClassVar[bool] = True
    cancellable: ClassVar[bool] = True
    clock: Callable[[], float] = time.time

    def needs(self, args: dict[str, Any]) -> Question:
        """Ask for the clock."""
        return Question(self.name)

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, float]:
        """Tell the time."""
        now = self.clock()
        return {"unix": now, "utc_offset_seconds": time.localtime(now).tm_gmtoff}

    async def emulate(self, args: dict[str, Any]) -> dict[str, float]:
        """Tell the beginning of the year 2000: a stand-in has no clock."""
        return {"unix": EMULATED_TIME, "utc_offset_seconds": 0}


@dataclass(frozen=True)
class Env:
    """One variable of the host's environment; it may hold a secret, so each needs its own grant.

    Those in `granted` need none.
    """

    name: ClassVar[str] = "env"
    arguments: ClassVar[Mapping[str, Argument]] = {"name": Text(most=200)}
    emulates: ClassVar[bool] = True
    cancellable: ClassVar[bool] = True
    granted: Collection[str] = frozenset()
    variables: Mapping[str, str] = field(default_factory=lambda: os.environ)

    def needs(self, args: dict[str, Any]) -> Question | None:
        """Ask for a variable by its name; what is no name of one is refused."""
        if args["name"] in self.granted:
            return None
        if not VARIABLE.fullmatch(args["name"]):
            raise Refused("bad_argument", "this is no name of a variable")
        return Question(self.name, args["name"])

    async def perform(self, args: dict[str, Any], context: Context) -> str | None:
        """Tell a variable's value, cut to 4 KiB of text; None when it is not set."""
        if args["name"] not in self.granted and context.permit is None:
            raise Refused("not_granted", "this variable is not granted")
        value = self.variables.get(args["name"])
        return None if value is None else value[:SHORT_BYTES]

    async def emulate(self, args: dict[str, Any]) -> str | None:
        """Tell a variable of a machine that does not exist."""
        return EMULATED_ENV.get(args["name"])


@dataclass(frozen=True)
class Notify:
    """One short text for the person; `show` gets it without what a screen hides or obeys.

    It stands in the session as the runtime's own, but among lmboot's lines, where it interrupts.
    The answer waits for what `show` returns, if anything: no more notices than requests that may
    be under way are unshown, however slowly they are read.
    """

    name: ClassVar[str] = "notify"
    arguments: ClassVar[Mapping[str, Argument]] = {"text": Text()}
    emulates: ClassVar[bool] = True
    cancellable: ClassVar[bool] = False
    show: Callable[[str], Awaitable[None] | None]

    def needs(self, args: dict[str, Any]) -> Question:
        """Ask for showing notices."""
        return Question(self.name)

    async def perform(self, args: dict[str, Any], context: Context) -> dict[str, bool]:
        """Show it."""
        context.commit()
        if (showing := self.show(plain(args["text"]))) is not None:
            await showing
        return {"shown": True}

    async def emulate(self, args: dict[str, Any]) -> dict[str, bool]:
        """Show nothing, and say so."""
        return {"shown": False}
