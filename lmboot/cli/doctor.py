"""`lmboot doctor`: what works here, what does not, and what to do about it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from lmboot.app import doctor, posture_report
from lmboot.app.places import places
from lmboot.connections.engine import PACKAGE
from lmboot.runtime.launcher import Wish
from lmboot.runtime.properties import in_words
from lmboot.settings import load
from lmboot.text import reveal

_NO_ENGINE = f"none, so no .gguf file can be run: {PACKAGE} in lmboot's environment"


def examine(as_json: bool, probe: bool = False) -> int:
    """Print what was found; with `probe`, what holds a runtime here and how that was proven."""
    wish = Wish(image=load(places().settings).container_image, say=_tell)
    report = asyncio.run((posture_report if probe else doctor).examine(wish))
    if as_json:
        sys.stdout.write(json.dumps(report) + "\n")
        return 0
    for line in _probe_lines(report) if probe else _lines(report):
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
    usable = ["usable"] if posture["usable"] else []
    yield f"sandbox   {name}: {': '.join(filter(None, [*usable, posture['reason']]))}"
    if not posture["usable"]:
        yield f"          {posture['remedy']}"
        return
    for key, level in posture["properties"].items():
        yield f"          {level:9} {in_words(key, level)}"


def _probe_lines(report: dict[str, Any]) -> Iterator[str]:
    yield f"lmboot {report['lmboot']}, {report['python']}"
    yield f"system    {report['system']}  {report['kernel']}"
    yield f"          {report['distribution'] or 'no /etc/os-release'}"
    yield f"user      {'root' if report['root'] else 'a plain user'}"
    yield f"settings  {', '.join(report['settings']) or 'none that keep a sandbox away'}"
    yield f"landlock  {_landlock(report['landlock'])}"
    yield f"groups    {'; '.join(map(_group, report['groups'])) or 'none can be had'}"
    for name, version in report["tools"].items():
        yield f"tool      {name}: {version}"
    for sandbox in report["sandboxes"]:
        yield ""
        yield from _proof_lines(sandbox)


def _landlock(version: int) -> str:
    return f"version {version}" if version >= 0 else f"none ({os.strerror(-version)})"


def _group(place: dict[str, Any]) -> str:
    return f"version {place['version']} for {' '.join(place['uses'])}"


def _proof_lines(sandbox: dict[str, Any]) -> Iterator[str]:
    usable = "usable" if sandbox["usable"] else "not usable"
    yield f"sandbox   {sandbox['name']}: {': '.join(filter(None, [usable, sandbox['reason']]))}"
    if sandbox["remedy"]:
        yield f"          {sandbox['remedy']}"
    if any(each["proof"] for each in sandbox["properties"].values()):
        yield f"          control group: {'yes' if sandbox['grouped'] else 'no'}"
        for name, each in sandbox["properties"].items():
            proof = ", ".join(f"{attempt} {found}" for attempt, found in each["proof"].items())
            yield f"          {each['level']:9} {name:14} {proof}".rstrip()
