"""Reads what the user names on the command line."""

from __future__ import annotations

import sys

from lmboot.errors import FileUnreadable


def read_file(name: str, limit: int) -> bytes:
    """Return a file's bytes, `-` being standard input; at most `limit` + 1 of them."""
    try:
        if name == "-":
            return sys.stdin.buffer.read(limit + 1)
        with open(name, "rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise FileUnreadable(
            f"{name} can't be read: {error.strerror or error}",
            hint="Check the name and the permissions.",
        ) from error
    except ValueError as error:
        raise FileUnreadable(f"{name!r} is no file name", hint="Check the name.") from error
