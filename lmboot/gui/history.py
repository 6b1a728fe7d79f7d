"""What was typed into a pane, for Up and Down; pure."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice

ENTRIES = 1000
_LONGEST = 64 << 10  # characters of an entry that is worth keeping


class History:
    """The lines of one pane, oldest first; no line stands twice in a row."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        """Begin with these; of more than 1000 the newest are kept."""
        self._entries: deque[str] = deque(maxlen=ENTRIES)
        self._draft, self._shown = "", ""
        self._place: int | None = None
        for entry in entries:
            self.add(entry)

    @property
    def entries(self) -> tuple[str, ...]:
        """Return the lines, oldest first."""
        return tuple(self._entries)

    def add(self, line: str) -> None:
        """Remember a line that was sent, and end any walk; empty and endless ones are left out."""
        self._place = None
        if line.strip() and len(line) <= _LONGEST and (not self._entries or self.newest != line):
            self._entries.append(line)

    @property
    def newest(self) -> str:
        """Return the last line; empty when there is none."""
        return self._entries[-1] if self._entries else ""

    def older(self, current: str) -> str:
        """Return what Up puts in the place of `current`: the next older line that begins as the
        draft does, the text that stood there when the walk began. None left: it stays.
        """
        self._follow(current)
        entries = self.entries
        start = len(entries) if self._place is None else self._place
        return self._go(range(start - 1, -1, -1), current)

    def newer(self, current: str) -> str:
        """Return what Down puts there: the next newer line like that, and at last the draft."""
        self._follow(current)
        if self._place is None:
            return current
        found = self._go(range(self._place + 1, len(self._entries)), current)
        return self._draft if found == current else found

    def containing(self, text: str, skip: int = 0) -> str | None:
        """Return the newest line that holds a text; `skip` passes over so many different ones.

        Letters fit in either case unless one is a capital. None when nothing is sought or found.
        """
        exact = text != text.lower()
        lines = (
            line for line in reversed(self._entries) if text in (line if exact else line.lower())
        )
        return next(islice(dict.fromkeys(lines), skip, None), None) if text else None

    def _follow(self, current: str) -> None:
        """Begin a new walk when the text is not what the walk showed last."""
        if self._place is None or current != self._shown:
            self._place, self._draft = None, current

    def _go(self, places: Iterable[int], current: str) -> str:
        entries = self.entries
        for place in places:
            if entries[place].startswith(self._draft) and entries[place] != current:
                self._place, self._shown = place, entries[place]
                return entries[place]
        return current


def dump(histories: Mapping[str, History]) -> str:
    """Return all panes' lines as JSON lines, for a file."""
    return "".join(
        json.dumps({"pane": pane, "text": entry}) + "\n"
        for pane, history in histories.items()
        for entry in history.entries
    )


def load(text: str) -> dict[str, History]:
    """Return what `dump` gave; lines that are damaged are left out."""
    histories: dict[str, History] = {}
    for line in text.split("\n"):
        if entry := _entry(line):
            histories.setdefault(entry[0], History()).add(entry[1])
    return histories


def _entry(line: str) -> tuple[str, str] | None:
    try:
        pane, text = (json.loads(line)[key] for key in ("pane", "text"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return (pane, text) if isinstance(pane, str) and isinstance(text, str) else None
