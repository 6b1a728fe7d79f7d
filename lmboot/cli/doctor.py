"""`lmboot doctor`: what works here, what does not, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any

from lmboot.app import doctor
from lmboot.runtime.properties import in_words
from lmboot.text import reveal

_NO_ENGINE = "none, so no .gguf file can be run: pip install 'lmboot[engine]'"


def examine(as_json: bool) -> int:
    """Print what was found."""
    report = asyncio.run(doctor.examine(_tell))
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
        return 0
    for line in _lines(report):
        sys.stdout.write(reveal(line) + "\n")
    return 0


def _tell(text: str) -> None:
    """Say on stderr what takes long; stdout is the report's."""
    sys.stderr.write(f"{reveal(text)}\n")
    sys.stderr.flush()


def _lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"lmboot {report['lmboot']}, Python {report['python']}, {report['system']}"
    yield from _server_lines(report["servers"])
    yield f"engine    {report['engine'] or _NO_ENGINE}"
    yield f"seed      {report['seed'] or 'ready'}"
    for posture in report["sandboxes"]:
        yield from _sandbox_lines(posture)
    yield f"display   {report['display'] or 'none: lmboot works in the terminal'}"
    yield f"drop      {'available' if report['drag_and_drop'] else 'tkinterdnd2 is not installed'}"
    yield f"keyring   {report['keyring'] or 'none: tokens are kept for one session only'}"


def _server_lines(servers: list[dict[str, Any]]) -> Iterator[str]:
    if not servers:
        yield "servers   none found; LM Studio: Developer tab, Start server (lms server start)"
    for server in servers:
        yield f"server    {server['server']}  {server.get('problem') or server['kind']}"


def _sandbox_lines(posture: dict[str, Any]) -> Iterator[str]:
    name = posture["name"]
    if name == "none":
        yield "sandbox   none: never chosen by itself; the program has your own rights"
        return
    yield f"sandbox   {name}: {'usable' if posture['usable'] else posture['reason']}"
    if not posture["usable"]:
        yield f"          {posture['remedy']}"
        return
    for key, level in posture["properties"].items():
        yield f"          {level:9} {in_words(key, level)}"
