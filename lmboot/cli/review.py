"""Shows a payload before consent: files, routes, limits, command, hash, warnings."""

from __future__ import annotations

from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table

from lmboot.bootstrap.review import (
    Review,
    broker_in_words,
    limits_in_words,
    sandbox_in_words,
)
from lmboot.text import brief, reveal

_WHOLE_LINES = 60  # a longer file is shown by its beginning here, and whole in the pager


def show_review(console: Console, review: Review) -> None:
    """Print everything that a person should see before agreeing."""
    payload = review.payload
    for number, (path, content) in enumerate(payload.files, 1):
        _show_file(console, number, path, content)
    console.print(Rule(style="dim"))
    console.print(_facts(review))
    for repair in review.verdict.repairs[:10]:
        console.print(f"  repaired: {reveal(repair.code)} at {reveal(repair.where)}", markup=False)
    for note in review.verdict.notes[:10]:
        sentence = f"  note: {reveal(note.where)}: {reveal(note.message)}"
        console.print(sentence, markup=False, style="yellow")
    for sentence in review.warnings:
        console.print(f"  warning: {reveal(sentence)}", markup=False, style="bold yellow")


def _show_file(console: Console, number: int, path: str, content: str) -> None:
    lines = content.count("\n") + 1
    title = f"{number}  {reveal(path)}  {len(content.encode()):,} bytes, {lines:,} lines"
    console.print(Rule(escape(title), align="left", style="cyan"))
    shown = "\n".join(content.split("\n")[:_WHOLE_LINES])
    console.print(Syntax(reveal(shown), _lexer(path), line_numbers=True, word_wrap=True))
    if lines > _WHOLE_LINES:
        console.print(f"… {lines - _WHOLE_LINES:,} more lines: type {number} to read them all")


def _lexer(path: str) -> str:
    try:
        return str(get_lexer_for_filename(path).aliases[0])
    except (ClassNotFound, IndexError):
        return "text"


def _facts(review: Review) -> Table:
    table = Table.grid(padding=(0, 2))
    payload = review.payload
    rows = [
        ("runtime", f"{payload.name} {payload.manifest.get('version', '')}"),
        ("written by", review.model),
        ("command", review.command),
        ("sandbox", sandbox_in_words(review)),
        ("routes", _routes(review)),
        ("broker", broker_in_words(payload)),
        ("limits", limits_in_words(review.limits)),
        ("SHA-256", payload.sha256),
    ]
    for name, value in [row for row in rows if row[1]]:
        table.add_row(f"[dim]{name}[/dim]", escape(reveal(brief(value, 600))))
    return table


def _routes(review: Review) -> str:
    table: dict[str, list[str]] = {}
    for operation, route in review.routes.items():
        table.setdefault(route, []).append(operation)
    shown = [
        f"{route} {' '.join(table[route])}" for route in ("HOST", "EMULATE") if route in table
    ]
    denied = ["all others DENY" if shown else "all DENY"] if "DENY" in table else []
    return "; ".join([*shown, *denied])
