"""What a pane would hold after some runs: the runs of a stream put in place one after another."""

from __future__ import annotations

from collections.abc import Iterable

from lmboot.gui.lastline import Run
from lmboot.gui.textstyle import Style

Cells = list[tuple[str, Style]]


def drawn(runs: Iterable[Run], cells: Cells | None = None) -> Cells:
    """Return every character with its style; a run that reaches over a line's start fails."""
    cells = cells or []
    for run in runs:
        taken = cells[len(cells) - run.back :]
        assert len(taken) == run.back
        assert all(character != "\n" for character, _ in taken)
        del cells[len(cells) - run.back :]
        cells += [(character, run.style) for character in run.text]
    return cells


def text_of(runs: Iterable[Run]) -> str:
    """Return what would be read, folds included."""
    return "".join(character for character, _ in drawn(runs))
