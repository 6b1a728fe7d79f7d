"""The model list as values: what a row says; pure."""

from __future__ import annotations

from typing import NamedTuple

from lmboot.connections.interface import Model, State
from lmboot.text import brief

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
