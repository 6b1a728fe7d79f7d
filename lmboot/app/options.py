"""What a session is to do, as the user wants it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmboot.bootstrap.handshake import Refused


@dataclass(frozen=True, slots=True)
class Options:
    """What the user asked for; `payload` is a reply to judge in place of asking a model.

    `live` is a front end that stays: `:quit` ends the runtime, whose files can still be kept, and
    the model answers while other lines are taken. `ask_again`: what was agreed to before is shown
    all the same. `mend` is the end of an asking that the model is to mend.
    """

    server: str | None = None
    model: str | None = None
    payload: bytes | None = None
    sandbox: str = "auto"
    no_border: bool = False
    yes: bool = False
    can_ask: bool = False
    wait_seconds: float = 10.0
    repairs: int = 2
    keep: Path | None = None
    paced: bool = True
    live: bool = False
    ask_again: bool = False
    payload_from: str = "a file"
    mend: Refused | None = None
