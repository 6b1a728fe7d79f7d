"""`lmboot audit`: read what a run was allowed and denied, and whether that is the whole truth."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from lmboot.app.places import places
from lmboot.app.records import in_words, records, row_of
from lmboot.errors import FileUnreadable
from lmboot.runtime.vault import Vault, read_log
from lmboot.text import reveal


def _vault() -> Vault:
    return Vault(places().audit)


def _say(text: str) -> None:
    sys.stdout.write(reveal(text) + "\n")


def show_log(wanted: str, as_json: bool) -> int:
    """Show a log's records, the oldest first; what is wrong with it is said on stderr."""
    vault = _vault()
    log = vault.find(wanted)
    for record in records(read_log(log)):
        if as_json:
            sys.stdout.write(json.dumps(record) + "\n")
        else:
            _say(row_of(record))
    sys.stdout.flush()
    sys.stderr.write(reveal(_doubt(vault, log)))
    return 0


def verify_log(wanted: str, as_json: bool) -> int:
    """Say whether a log is whole; 1 when it is not."""
    vault = _vault()
    log = vault.find(wanted)
    verdict = vault.verify(log)
    if as_json:
        shown = {"log": str(log), "whole": verdict.whole, **asdict(verdict)}
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        _say("\n".join(in_words(log.name, verdict)))
    return 0 if verdict.whole else 1


def _doubt(vault: Vault, log: Path) -> str:
    """Return what a reader of the log must know, nothing if it is whole."""
    try:
        verdict = vault.verify(log)
    except FileUnreadable as error:
        return f"lmboot: this log is not verified: {error}\n"
    return "" if verdict.whole else "".join(f"lmboot: {x}\n" for x in in_words(log.name, verdict))
