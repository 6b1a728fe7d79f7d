"""What lmboot finds on this machine, in one value; nothing is started but probes."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import platform
from dataclasses import asdict
from typing import Any

from lmboot import __version__
from lmboot.app.models import seed_row
from lmboot.connections.addresses import named_server
from lmboot.connections.engine import available
from lmboot.connections.servers import discover, identify
from lmboot.errors import LmbootError
from lmboot.keychain import keyring_name
from lmboot.runtime.posture import NO_WISH, Posture, Wish, survey


async def examine(wish: Wish = NO_WISH) -> dict[str, Any]:
    """Return everything that a bug report should hold; no secret and no path of the user's.

    `wish` is what the user wants of a sandbox beside its name.
    """
    servers, sandboxes, keyring = await asyncio.gather(
        _servers(), survey(wish), asyncio.to_thread(keyring_name)
    )
    return {
        "lmboot": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "servers": servers,
        "engine": available(),
        "seed": _seed(),
        "sandboxes": [_in_short(posture) for posture in sandboxes],
        "display": _display(),
        "drag_and_drop": importlib.util.find_spec("tkinterdnd2") is not None,
        "keyring": keyring,
    }


def _in_short(posture: Posture) -> dict[str, Any]:
    """Return what holds; the attempts that prove it are for `--probe`."""
    return {name: value for name, value in asdict(posture).items() if name != "tried"}


async def _servers() -> list[dict[str, Any]]:
    found = [{"server": each.base, "kind": each.kind} for each in await discover()]
    named = named_server(None, os.environ)
    if named is None:
        return found
    try:
        server = await identify(named)
    except LmbootError as error:
        return [{"server": named, "kind": None, "problem": f"{error}. {error.hint}"}, *found]
    return [{"server": server.base, "kind": server.kind}, *found]


def _seed() -> str | None:
    """Return what is wrong with the seed model, None when nothing is."""
    try:
        seed_row()
    except LmbootError as error:
        return str(error)
    return None


def _display() -> str | None:
    if platform.system() in ("Windows", "Darwin"):
        return platform.system()
    return os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or None
