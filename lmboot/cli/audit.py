"""`lmboot audit`: read what a run was allowed and denied, and whether that is the whole truth."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

from lmboot.app.places import places
from lmboot.app.records import gaps_in_words, in_words, records, row_of
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
    if not log.exists():
        raise FileUnreadable(
            f"{log.name} is gone, though it was kept",
            hint="`lmboot audit verify` tells which others are; name one to see it.",
        )
    for record in records(read_log(log)):
        if as_json:
            sys.stdout.write(json.dumps(record) + "\n")
        else:
            _say(row_of(record))
    sys.stdout.flush()
    sys.stderr.write(reveal(_doubt(vault, log)))
    if wanted == "last":
        sys.stderr.write(reveal(_doubt_of_the_row(vault)))
    return 0


def verify_log(wanted: str | None, as_json: bool) -> int:
    """Say whether a log is whole, or all of them where none is named; 1 when one is not.

    Whether the last is the last, only the row of all can tell.
    """
    vault = _vault()
    logs = vault.logs() if wanted is None else [vault.find(wanted)]
    if not logs:
        raise FileUnreadable("there are no audit logs", hint="A run makes one.")
    whole = all([_verify(vault, log, as_json) for log in logs])
    if wanted in (None, "last"):
        whole &= _verify_row(vault, as_json, count=None if wanted else len(logs))
    return 0 if whole else 1


def _verify(vault: Vault, log: Path, as_json: bool) -> bool:
    verdict = vault.verify(log)
    if as_json:
        shown = {"log": str(log), "whole": verdict.whole, **asdict(verdict)}
        sys.stdout.write(json.dumps(shown) + "\n")
    else:
        _say("\n".join(in_words(log.name, verdict)))
    return verdict.whole


def _verify_row(vault: Vault, as_json: bool, count: int | None) -> bool:
    """Say whether a log is missing; of the last one (`count` None), only if that is so."""
    gaps, unlinked = vault.gaps(), vault.unlinked()
    if as_json and count is not None:
        row = {"row": count, "whole": not gaps, "gaps": [asdict(gap) for gap in gaps]}
        sys.stdout.write(json.dumps({**row, "unlinked": unlinked}) + "\n")
    elif as_json:
        sys.stderr.write(reveal(_doubt_of_the_row(vault)))
    elif gaps:
        _say("\n".join(gaps_in_words(gaps)))
    elif count is not None:
        _say(f"no log is missing: {count} are kept, as the list of all says")
    if unlinked and count is not None and not as_json:
        _say(f"{len(unlinked)} are not linked, being older: nothing tells if others are gone")
    return not gaps


def _doubt_of_the_row(vault: Vault) -> str:
    """Return what a reader of the last log must know: it may not be the last."""
    try:
        return "".join(f"lmboot: {line}\n" for line in gaps_in_words(vault.gaps()))
    except FileUnreadable:
        return ""


def _doubt(vault: Vault, log: Path) -> str:
    """Return what a reader of the log must know, nothing if it is whole."""
    try:
        verdict = vault.verify(log)
    except FileUnreadable as error:
        return f"lmboot: this log is not verified: {error}\n"
    return "" if verdict.whole else "".join(f"lmboot: {x}\n" for x in in_words(log.name, verdict))
