"""A search through what was typed before, letter by letter, as a shell has it; pure."""

from __future__ import annotations

from collections.abc import Callable

Find = Callable[[str, int], str | None]  # (text, how many to pass over) -> a line that holds it


class Recall:
    """What is sought and what was found; without a find, what stood there before stays."""

    def __init__(self, find: Find, draft: str) -> None:
        """Begin with nothing sought."""
        self._find, self.draft = find, draft
        self.sought, self._skip = "", 0
        self.line = draft
        self.fits = True

    def write(self, text: str) -> None:
        """Seek for more: the newest line that holds all of it."""
        self._look(self.sought + text, 0)

    def erase(self) -> None:
        """Seek for one letter less."""
        self._look(self.sought[:-1], 0)

    def older(self) -> None:
        """Go on to the next older line; at the oldest one, stay."""
        found = self._find(self.sought, self._skip + 1) if self.sought else None
        if found is not None:
            self._skip += 1
            self.line = found

    def _look(self, sought: str, skip: int) -> None:
        self.sought, self._skip = sought, skip
        found = self._find(sought, skip) if sought else self.draft
        self.fits = found is not None
        if found is not None:
            self.line = found

    @property
    def words(self) -> str:
        """Return what tells the user where they are."""
        return f"search: {self.sought}" + ("" if self.fits else "  ·  nothing has it")
