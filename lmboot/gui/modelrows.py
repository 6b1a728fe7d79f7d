"""The model list as values: what a row says, which rows match, in what order; pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

from lmboot.connections.interface import Model, State
from lmboot.text import brief

Column = Literal["name", "state", "quantization", "size", "context", "server"]
STATES: dict[State, str] = {
    "loaded": "● loaded",
    "available": "○ available",
    "unknown": "? unknown",
}
UNKNOWN = "—"
_OURSELVES = "lmboot itself"
_SHORT = 60


class ModelRow(NamedTuple):
    """One row, as it is shown. `id` names it over a refresh: a model may be on two servers."""

    id: str
    name: str
    state: str
    quantization: str
    size: str
    context: str
    server: str
    model: Model

    @property
    def cells(self) -> tuple[str, str, str, str, str, str]:
        """Return id, name, state, quantization, size and context."""
        return self[:6]


def model_row(model: Model) -> ModelRow:
    """Return the row of a model; names are strangers' text, and become one short line."""
    return ModelRow(
        id=f"{model.id}\n{model.server}",
        name=brief(model.name or model.id, _SHORT) or UNKNOWN,
        state=STATES[model.state],
        quantization=brief(model.quantization or "", _SHORT) or UNKNOWN,
        size=size_words(model.size_bytes),
        context=f"{model.context:,}" if model.context else UNKNOWN,
        server=brief(model.server, _SHORT) or _OURSELVES,
        model=model,
    )


def size_words(size: int | None) -> str:
    """Return a size in bytes in words of people; a dash where it is not known."""
    if size is None:
        return UNKNOWN
    if size < 1e3:
        return f"{size} B"
    if size < 1e5:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def matching(rows: Sequence[ModelRow], words: str) -> list[ModelRow]:
    """Return the rows that have every word of the filter somewhere, in whatever case."""
    wanted = words.casefold().split()
    return [row for row in rows if all(word in _searched(row) for word in wanted)]


def _searched(row: ModelRow) -> str:
    shown = (row.name, row.state, row.quantization, row.server)
    model = row.model
    return "\n".join((*shown, model.id, model.kind, model.architecture or "")).casefold()


_KEYS: dict[Column, Callable[[ModelRow], Any]] = {
    "name": lambda row: row.name.casefold(),
    "state": lambda row: list(STATES).index(row.model.state),
    "quantization": lambda row: row.model.quantization and row.model.quantization.casefold(),
    "size": lambda row: row.model.size_bytes,
    "context": lambda row: row.model.context,
    "server": lambda row: row.server.casefold(),
}


def ordered(
    rows: Sequence[ModelRow], column: Column, *, descending: bool = False
) -> list[ModelRow]:
    """Return the rows by a column, by name where it is equal; what is unknown comes last."""
    key = _KEYS[column]
    by_name = sorted(rows, key=_KEYS["name"])
    known = [row for row in by_name if key(row) is not None]
    unknown = [row for row in by_name if key(row) is None]
    return sorted(known, key=key, reverse=descending) + unknown


def selection_after(
    old: Sequence[ModelRow], new: Sequence[ModelRow], selected: str | None
) -> str | None:
    """Return the id to select once `new` took the place of `old`.

    The same one as long as it is there; else its next neighbour that is left, first downwards.
    None when nothing was selected, or nothing of it is left.
    """
    left = {row.id for row in new}
    ids = [row.id for row in old]
    if selected in left or selected not in ids:
        return selected if selected in left else None
    place = ids.index(selected)
    neighbours = ids[place + 1 :] + ids[:place][::-1]
    return next((each for each in neighbours if each in left), None)
