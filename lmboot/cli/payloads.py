"""`lmboot payloads`: look at what was kept, take it out, bring it in, forget it."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from lmboot.app.places import places
from lmboot.bootstrap.judge import judge_bytes
from lmboot.bootstrap.library import Kept, Library, row_of
from lmboot.bootstrap.payload import MAX_REPLY_BYTES
from lmboot.cli.check import verdict_lines
from lmboot.cli.files import read_file
from lmboot.errors import FileUnreadable
from lmboot.files import write_whole
from lmboot.text import brief, reveal


def _library() -> Library:
    return Library(places().payloads)


def _say(text: str) -> None:
    sys.stdout.write(reveal(text) + "\n")


def list_kept(as_json: bool) -> int:
    """List the kept payloads, the newest first."""
    rows = list(_library().all())
    if as_json:
        sys.stdout.write(json.dumps([row_of(name, kept) for name, kept in rows]) + "\n")
        return 0
    for name, kept in rows:
        _say(f"{name[:12]}  {_in_words(kept)}")
    if not rows:
        _say("no payload was kept yet")
    return 0


def _in_words(kept: Kept | None) -> str:
    if kept is None:
        return "damaged"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(kept.time))
    agreed = "agreed" if kept.agreed else "not read"
    return f"{when}  {agreed:8}  {brief(kept.payload.name, 40)}  from {brief(kept.model, 60)}"


def show_kept(hash_: str, as_json: bool) -> int:
    """Show one payload, hidden characters made visible."""
    kept = _library().find(hash_)
    if as_json:
        sys.stdout.write(json.dumps(kept.payload.normalised()) + "\n")
        return 0
    _say(f"{kept.payload.sha256}\n{_in_words(kept)}")
    _say(json.dumps(kept.payload.manifest, indent=1, ensure_ascii=False))
    _say(f"entrypoint: {kept.payload.entrypoint}")
    for path, content in kept.payload.files:
        _say(f"\n--- {path}\n{content}")
    return 0


def export_kept(hash_: str, file: str) -> int:
    """Write one payload to a file as JSON; a file that is there is not overwritten."""
    text = json.dumps(_library().find(hash_).payload.normalised(), indent=1) + "\n"
    if file == "-":
        sys.stdout.write(text)
        return 0
    path = Path(file)
    if path.exists():
        raise FileUnreadable(f"{file} is there already", hint="Choose another name.")
    try:
        write_whole(path, text)
    except OSError as error:
        sentence = f"{file} can't be written: {error.strerror}"
        raise FileUnreadable(sentence, hint="Check the folder and its space.") from error
    return 0


def import_one(file: str) -> int:
    """Keep a payload from a file if it is valid."""
    verdict = judge_bytes(read_file(file, MAX_REPLY_BYTES))
    for line in verdict_lines(verdict):
        _say(line)
    if verdict.payload is None:
        return 1
    _library().keep(verdict.payload, "a file", agreed=False)
    return 0


def remove_kept(hash_: str) -> int:
    """Forget one payload."""
    _say(f"removed {_library().remove(hash_)[:12]}")
    return 0
