"""JSON as strictly as RFC 8259 has it; the usual slips of language models mended when asked; pure.

`decode` reads one object out of a text. It never adds anything: a text that ends while something
is open is `truncated`, whatever else is not JSON is `syntax`. What can be read but not be accepted
(duplicate keys, NaN, integers beyond 2^53, lone surrogates) is listed and reading goes on, so that
one reply gets one complete list. Every step is counted against a budget: linear time, any input.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from lmboot.text import brief

MAX_DEPTH = 32
MAX_STEPS = (
    1_000_000  # values read and brackets skipped: more than any payload has, done in seconds
)
MAX_INTEGER = 2**53
QUICK_CHARACTERS = 10_000

_SPACE = re.compile(r"[ \t\n\r]*+")
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?")
_NAN = re.compile(r"NaN|-?Infinity")
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile("true|false|null")
_CONTROL = re.compile("[\x00-\x1f]")
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]|\r(?!\n)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PARTIAL_WORD = re.compile(r"(?:t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?|-|[0-9.eE+-]+)\Z")


class Problem(NamedTuple):
    """Something that stands against a text: a code, a place, a sentence."""

    code: str
    where: str
    message: str


class Repair(NamedTuple):
    """Something that was mended, and where."""

    code: str
    where: str


class Float(float):
    """A number with a fraction or an exponent; `text` is how it was written."""

    text: str = ""


class Broken(ValueError):
    """The object could not be read to its end; `keys` are those of it that were."""

    def __init__(self, code: str, position: int, message: str, keys: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.position, self.message, self.keys = code, position, message, keys


@dataclass(slots=True)
class Budget:
    """How many steps may still be taken on a whole text; spent, it ends the reading."""

    left: int = MAX_STEPS
    total: int = field(init=False)

    def __post_init__(self) -> None:
        self.total = self.left

    def spend(self, position: int) -> None:
        """Take one step, or raise Broken(too_big)."""
        self.left -= 1
        if self.left < 0:
            raise Broken("too_big", position, f"it has more than {self.total:,} values")


@dataclass(slots=True)
class Decoded:
    """One object, where it ended, and what was found on the way."""

    value: dict[str, Any]
    end: int
    repairs: list[Repair]
    problems: list[Problem]


class Places:
    """Turns a position in a text into `line 3, column 7`."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._breaks: list[int] | None = None

    def __call__(self, position: int) -> str:
        """Return the place of a position; both numbers count from 1."""
        if self._breaks is None:
            self._breaks = [match.start() for match in re.finditer("\n", self._text)]
        line = bisect_left(self._breaks, position)
        start = self._breaks[line - 1] + 1 if line else 0
        return f"line {line + 1}, column {position - start + 1}"


def decode(
    text: str,
    start: int = 0,
    *,
    lenient: bool = False,
    budget: Budget | None = None,
    places: Places | None = None,
) -> Decoded:
    """Read the object that begins at `start`; raise Broken when it can't be read.

    `lenient` mends literal newlines and tabs in strings and trailing commas, and lists them.
    """
    reader = _Reader(text, lenient, budget or Budget(), places or Places(text))
    value, end = reader.object(start)
    return Decoded(value, end, reader.repairs, reader.problems)


def quick(text: str, longest: int = QUICK_CHARACTERS) -> dict[str, Any] | None:
    """Return the object that a short, shallow text is, in a few microseconds; None: use decode.

    Whatever `decode` would refuse or complain of is None here, and much that it would not.
    `longest` is for callers that have counted what it would have to read.
    """
    if len(text) > longest or "\\u" in text:  # an escape may be half of a pair
        return None
    if text.count("{") + text.count("[") > MAX_DEPTH:
        return None
    try:
        value, end = _scan(text, 0)
    except (ValueError, StopIteration):
        return None
    return value if isinstance(value, dict) and end == len(text) else None


def encoder(
    *,
    ascii_only: bool = True,
    sort_keys: bool = False,
    allow_nan: bool = False,
    default: Callable[[object], object] | None = None,
) -> Callable[[object], str]:
    """Return what writes JSON without spaces; unless allowed, NaN and infinities are ValueError.

    It is what `json.JSONEncoder` would make anew for each value: for short ones the most of its
    time. A value that contains itself is a RecursionError.
    """
    usual = json.JSONEncoder(
        ensure_ascii=ascii_only,
        allow_nan=allow_nan,
        sort_keys=sort_keys,
        separators=(",", ":"),
        default=default,
    )
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return usual.encode
    text = json.encoder.encode_basestring_ascii if ascii_only else json.encoder.encode_basestring
    made = make(None, usual.default, text, None, ":", ",", sort_keys, False, allow_nan)
    return lambda value: "".join(made(value, 0))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError
    return members


def _bounded(digits: str) -> int:
    if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
        raise ValueError
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError
    return number


def _never(name: str) -> None:
    raise ValueError(name)


_quick_decoder = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=_bounded, parse_float=_finite, parse_constant=_never
)
_scan = cast(
    Any, _quick_decoder
).scan_once  # what `decode` calls between two looks for white space


@dataclass(slots=True)
class _Reader:
    text: str
    lenient: bool
    budget: Budget
    places: Places
    path: list[str | int] = field(default_factory=list)
    top_keys: list[str] = field(default_factory=list)
    repairs: list[Repair] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def object(self, position: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        position = self._enter(position)
        if self._at(position, "}"):
            return members, position + 1
        while True:
            key, position = self._key(position)
            self.path.append(key)
            if key in members:
                self._refuse("duplicate_key", "the key occurs twice; which one is meant?")
            members[key], position = self._value(self._colon(position))
            self.path.pop()
            position, over = self._next(position, "}")
            if over:
                return members, position

    def _array(self, position: int) -> tuple[list[Any], int]:
        items: list[Any] = []
        position = self._enter(position)
        if self._at(position, "]"):
            return items, position + 1
        while True:
            self.path.append(len(items))
            item, position = self._value(position)
            items.append(item)
            self.path.pop()
            position, over = self._next(position, "]")
            if over:
                return items, position

    def _enter(self, position: int) -> int:
        self.budget.spend(position)
        if len(self.path) >= MAX_DEPTH:
            raise self._broken(
                "too_deep", position, f"it is nested deeper than {MAX_DEPTH} levels"
            )
        return self._space(position + 1)

    def _key(self, position: int) -> tuple[str, int]:
        if not self._at(position, '"'):
            raise self._unexpected(position, "a key in double quotes")
        key, position = self._string(position)
        if not self.path:
            self.top_keys.append(key)
        return key, position

    def _colon(self, position: int) -> int:
        position = self._space(position)
        if not self._at(position, ":"):
            raise self._unexpected(position, "a colon")
        return self._space(position + 1)

    def _next(self, position: int, closer: str) -> tuple[int, bool]:
        """Step over a comma or the closing bracket; say whether it was the bracket."""
        position = self._space(position)
        if self._at(position, closer):
            return position + 1, True
        if not self._at(position, ","):
            raise self._unexpected(position, f"a comma or {closer}")
        comma, position = position, self._space(position + 1)
        if self.lenient and self._at(position, closer):
            self.repairs.append(Repair("trailing_comma", self.places(comma)))
            return position + 1, True
        return position, False

    def _value(self, position: int) -> tuple[Any, int]:
        first = self.text[position : position + 1]
        if first == '"':
            self.budget.spend(position)
            return self._string(position)
        if first == "{":
            return self.object(position)
        if first == "[":
            return self._array(position)
        self.budget.spend(position)
        if word := _WORD.match(self.text, position):
            return _WORDS[word[0]], word.end()
        return self._number(position)

    def _number(self, position: int) -> tuple[int | float, int]:
        if match := _NAN.match(self.text, position):
            self._refuse("number", f"{match[0]} is not a JSON number")
            return 0, match.end()
        match = _NUMBER.match(self.text, position)
        if match is None:
            raise self._unexpected(position, "a value")
        if match[1] is None and match[2] is None:
            return self._integer(match[0]), match.end()
        number = Float(match[0])
        number.text = match[0]
        if not math.isfinite(number):
            self._refuse("number", "the number is too large")
        return number, match.end()

    def _integer(self, digits: str) -> int:
        if len(digits) > 17 or abs(int(digits)) > MAX_INTEGER:
            self._refuse("number", "the integer lies beyond 2^53")
            return 0
        return int(digits)

    def _string(self, position: int) -> tuple[str, int]:
        match = _STRING.match(self.text, position)
        if match is None:
            raise self._broken("truncated", len(self.text), "the text ends inside a string")
        raw = self._mended(match[0], position)
        try:
            value: str = json.loads(raw, strict=False)
        except ValueError as error:
            at = position + getattr(error, "pos", 0)
            raise self._broken("syntax", at, "it has an escape that JSON does not know") from None
        if _SURROGATE.search(value):
            self._refuse("text", "it has half of a surrogate pair")
        return value, match.end()

    def _mended(self, raw: str, position: int) -> str:
        """Return a string's source with its literal line breaks as one newline each."""
        illegal = (_ILLEGAL if self.lenient else _CONTROL).search(raw)
        if illegal:
            at = position + illegal.start()
            raise self._broken("syntax", at, "a string has a control character in it")
        if "\n" in raw:
            self.repairs.append(Repair("literal_newline", where(self.path)))
        if "\t" in raw:
            self.repairs.append(Repair("literal_tab", where(self.path)))
        return raw.replace("\r\n", "\n")

    def _space(self, position: int) -> int:
        match = _SPACE.match(self.text, position)
        return match.end() if match else position

    def _at(self, position: int, character: str) -> bool:
        return self.text.startswith(character, position)

    def _refuse(self, code: str, message: str) -> None:
        self.problems.append(Problem(code, where(self.path), message))

    def _unexpected(self, position: int, wanted: str) -> Broken:
        if position >= len(self.text) or _PARTIAL_WORD.match(self.text, position):
            return self._broken(
                "truncated", len(self.text), f"the text ends where {wanted} is due"
            )
        found = self.text[position]
        return self._broken("syntax", position, f"{found!r} stands where {wanted} is due")

    def _broken(self, code: str, position: int, message: str) -> Broken:
        return Broken(code, position, message, tuple(self.top_keys))


def where(path: list[str | int] | tuple[str | int, ...]) -> str:
    """Return a path's name: ["files", 2, "path"] is `files[2].path`; the empty one is `reply`."""
    name = ""
    for part in path:
        name += f"[{part}]" if isinstance(part, int) else f".{brief(part, 80)}"
    return name.lstrip(".") or "reply"
