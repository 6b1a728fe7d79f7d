"""Where a user keeps what a runtime wrote, and what is told of the copying."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lmboot.text import brief
from lmboot.workspace import CopyReport, check_target


def keep_folder(name: str) -> Path:
    """Return a folder that files may be copied to; UsageFault unless it is new or empty."""
    folder = Path(name).expanduser()
    check_target(folder)
    return folder


def told(report: CopyReport, folder: Path) -> Iterator[str]:
    """Yield what was copied there and what was not, as lines."""
    count = f"{len(report.copied)} file{'s' * (len(report.copied) != 1)}"
    yield f"{count} that the runtime wrote copied to {folder}"
    for name, why in report.refused:
        yield f"not copied: {brief(name, 120)} {why}"
    if report.unlisted:
        yield f"not copied: {report.unlisted:,} more"
