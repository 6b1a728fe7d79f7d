"""Pick fields out of a server's JSON; pure. A wrong type is a missing field, never an error."""

from __future__ import annotations

import json
from typing import Any

from lmboot.text import brief, is_hidden

MAX_ROWS = 2_000  # of one list; the largest collections have a few hundred models
_MAX_COUNT = 2**53
_MAX_IDENTIFIER = 300


def read_json(body: bytes | str) -> object:
    """Return the value of a JSON text, None where it is not one."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def mapping(value: object) -> dict[str, Any]:
    """Return an object's members, none where it is no object."""
    return value if isinstance(value, dict) else {}


def rows(value: object) -> list[dict[str, Any]]:
    """Return the objects of a list, at most MAX_ROWS of them."""
    if not isinstance(value, list):
        return []
    return [row for row in value[:MAX_ROWS] if isinstance(row, dict)]


def words(value: object, limit: int = 200) -> str | None:
    """Return a text as one short line without hidden characters, None where nothing is left."""
    return (brief(value, limit) or None) if isinstance(value, str) else None


def identifier(value: object) -> str | None:
    """Return a text that goes back to the server unchanged, None where it can't be shown so."""
    if not isinstance(value, str) or not value.strip() or len(value) > _MAX_IDENTIFIER:
        return None
    return None if any(is_hidden(character) for character in value) else value


def count(value: object) -> int | None:
    """Return a positive whole number of plausible size."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value < _MAX_COUNT else None
