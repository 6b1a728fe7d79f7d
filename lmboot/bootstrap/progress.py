"""Reads a reply while it comes, for the screen: thinking apart, files as they appear; pure.

Only what is shown rests on it, and where the stream of a server that enforces the schema may be
closed. What is run rests on `judge`, which reads the whole text once more.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Literal

_MARKS = re.compile(r'["\\{}\[\],:]')
_STRING_MARKS = re.compile(r'["\\]')
_TAGS = ("<think>", "</think>")
_SHOWN_PATH = 400


@dataclass(slots=True)
class File:
    """A file that is being written: its path, "" while unknown, and its characters so far."""

    path: str = ""
    size: int = 0


@dataclass(slots=True)
class Progress:
    """What has come so far; `feed` it every piece of the answer's text, in any cutting.

    `closed` says that the payload's closing brace has come. Counts are characters.
    """

    characters: int = 0
    thinking: int = 0
    files: list[File] = field(default_factory=list)
    closed: bool = False
    _mode: Literal["text", "think", "object"] = "text"
    _tail: str = ""
    _stack: list[str] = field(default_factory=list)
    _keys: list[str] = field(default_factory=list)
    _in_string: bool = False
    _escaped: bool = False
    _is_key: bool = False
    _string: list[str] = field(default_factory=list)
    _string_length: int = 0

    def feed(self, text: str) -> None:
        """Take the next piece; the work is linear in its length."""
        self.characters += len(text)
        position = 0
        while position < len(text):
            position = (
                self._in_object(text, position) if self._stack else self._outside(text, position)
            )

    def think(self, text: str) -> None:
        """Take a piece of thinking that came in a field of its own."""
        self.thinking += len(text)

    def _outside(self, text: str, position: int) -> int:
        """Look for a tag or a brace; the last characters are kept for a tag cut in two."""
        end = len(text)
        for index in range(position, end):
            character = text[index]
            self._tail = (self._tail + character)[-8:]
            if self._mode == "think":
                self.thinking += 1
            if self._tail.endswith(_TAGS):
                opening = self._tail.endswith(_TAGS[0])
                self._mode = "think" if opening else "text"
            elif character == "{" and self._mode == "text":
                self._open("{")
                return index + 1
        return end

    def _open(self, bracket: str) -> None:
        self._stack.append(bracket)
        self._keys.append("")
        self._is_key = bracket == "{"
        if len(self._stack) == 3 and self._keys[0] == "files" and bracket == "{":
            self.files.append(File())

    def _close(self) -> None:
        self._stack.pop()
        self._keys.pop()
        if not self._stack:
            self.closed = self.closed or bool(self.files)

    def _in_object(self, text: str, position: int) -> int:
        if self._in_string:
            return self._inside_string(text, position)
        match = _MARKS.search(text, position)
        if match is None:
            return len(text)
        mark = match[0]
        if mark == '"':
            self._in_string, self._escaped = True, False
            self._string.clear()
            self._string_length = 0
        elif mark in "{[":
            self._open(mark)
        elif mark in "}]":
            self._close()
        elif mark in ",:":
            self._is_key = mark == "," and self._stack[-1] == "{"
        return match.end()

    def _inside_string(self, text: str, position: int) -> int:
        if self._escaped:
            self._escaped = False
            self._take(text[position], escaped=True)
            return position + 1
        match = _STRING_MARKS.search(text, position)
        end = match.start() if match else len(text)
        self._take(text[position:end])
        if match is None:
            return end
        if match[0] == "\\":
            self._escaped = True
        else:
            self._in_string = False
            self._string_over()
        return match.end()

    def _take(self, text: str, *, escaped: bool = False) -> None:
        if self._is_content:
            self.files[-1].size += len(text)
        elif self._string_length < _SHOWN_PATH:
            self._string.append(f"\\{text}" if escaped else text)
            self._string_length += len(text)

    @property
    def _is_content(self) -> bool:
        return (
            len(self._stack) == 3
            and not self._is_key
            and self._keys[2] == "content"
            and bool(self.files)
        )

    def _string_over(self) -> None:
        value = _unescaped("".join(self._string)[:_SHOWN_PATH])
        if self._is_key:
            self._keys[-1] = value
        elif len(self._stack) == 3 and self._keys[2] == "path" and self.files:
            self.files[-1].path = value


def _unescaped(text: str) -> str:
    """Return what a string of JSON says; as it stands where that can't be told."""
    try:
        return str(json.loads(f'"{text}"', strict=False))
    except ValueError:
        return text


class ThinkFilter:
    """Tells `<think>…</think>` at the beginning of an answer from the answer; pure."""

    def __init__(self) -> None:
        """Begin before the first character."""
        self._held: str | None = ""
        self._thinking = self._thought = False

    def feed(self, text: str) -> str:
        """Return what of the answer so far is to be shown now."""
        if self._held is None:
            return self._answer(text)
        self._held += text
        return self._decide()

    def _answer(self, text: str) -> str:
        """Return a piece of the answer; the blanks between it and the thinking are left out."""
        text = text.lstrip() if self._thought else text
        self._thought = self._thought and not text
        return text

    def _decide(self) -> str:
        held = self._held or ""
        start = held.lstrip()
        opening, closing = _TAGS
        if not self._thinking and start.startswith(opening):
            self._thinking, start = True, start[len(opening) :]
        if self._thinking:
            before, tag, after = start.partition(closing)
            self._held = None if tag else before[-len(closing) :] if before else ""
            self._thinking, self._thought = not tag, bool(tag)
            return self._answer(after)
        if opening.startswith(start):  # nothing yet, or the beginning of the tag
            return ""
        self._held = None
        return held

    def end(self) -> str:
        """Return what was held back and turned out to be no thinking."""
        held, self._held = self._held, None
        return "" if self._thinking or held is None else held
