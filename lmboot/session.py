"""What a line that the user types means, and what a conversation with the model holds; pure.

    :ai TEXT     talk to the model            :rt TEXT     talk to the runtime
    :ai+ TEXT    the same, with the runtime's last lines
    :route       the routes as they are   :route OP ROUTE   change one
    :grant       what is granted          :grant read DIR, write DIR, fetch HOST, spawn FILE
    :revoke NAME take a grant back
    :save DIR    copy out what the runtime wrote, once it has ended
    :quit        stop the runtime and leave   :help        this list

A line without a command goes to the pane last used, at first the runtime's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Verb = Literal["ai", "ai+", "rt", "route", "grant", "revoke", "save", "help", "quit", "unknown"]
_WITH_TEXT: dict[str, Verb] = {
    ":route": "route",
    ":grant": "grant",
    ":revoke": "revoke",
    ":save": "save",
}
COMMANDS = (":ai", ":ai+", ":rt", ":route", ":grant", ":revoke", ":save", ":help", ":quit")
HELP = (
    ":ai TEXT    talk to the model",
    ":ai+ TEXT   the same, with the runtime's last lines",
    ":rt TEXT    talk to the runtime",
    ":route      who performs what; :route OP ROUTE changes it: EMULATE, HOST or DENY",
    ":grant      what the runtime may use here; :grant read DIR, write DIR, fetch HOST, "
    "spawn PROGRAM, env NAME, query_model, time, notify",
    ":revoke NAME  take such a grant back",
    ":save DIR   copy out what the runtime wrote, once it has ended",
    ":quit       stop the runtime and leave",
    "A line without a command goes to the pane last used.",
)


INJECTED = "The runtime added this text; it is not the user's:"


@dataclass(frozen=True, slots=True)
class Command:
    """One line, understood; the text of an unknown command is its word."""

    verb: Verb
    text: str = ""


class Router:
    """Remembers which pane was used last, and reads lines by it."""

    def __init__(self) -> None:
        """Begin with the runtime's pane."""
        self.pane: Literal["ai", "rt"] = "rt"

    def read(self, line: str) -> Command:
        """Return what a line means."""
        if not line.startswith(":"):
            return Command(self.pane, line)
        word, _, text = line.partition(" ")
        if word in (":ai", ":ai+"):
            self.pane = "ai"
            return Command("ai" if word == ":ai" else "ai+", text.strip())
        if word == ":rt":
            self.pane = "rt"
            return Command("rt", text)
        if word in _WITH_TEXT:
            return Command(_WITH_TEXT[word], text.strip())
        if word in (":help", ":quit"):
            return Command("help" if word == ":help" else "quit")
        return Command("unknown", word)


@dataclass(slots=True)
class Conversation:
    """The `:ai` turns so far, without primer, trigger and payload."""

    turns: list[tuple[str, str]] = field(default_factory=list)
    injected: list[str] = field(default_factory=list)

    def inject(self, text: str) -> None:
        """Have a text of the runtime's go along with what the user says next."""
        self.injected.append(text)

    def with_injected(self, text: str) -> str:
        """Return what the user says behind what the runtime added, marked; that is used up."""
        added, self.injected = self.injected, []
        marked = [f"{INJECTED}\n{each}\n" for each in added]
        return "\n".join([*marked, text])

    def add(self, question: str, answer: str) -> None:
        """Remember one turn."""
        self.turns.append((question, answer))

    def fitting(self, room: int) -> Sequence[tuple[str, str]]:
        """Return the newest turns whose texts take at most `room` tokens, estimated."""
        kept: list[tuple[str, str]] = []
        for turn in reversed(self.turns):
            room -= sum(estimated_tokens(text) for text in turn)
            if room < 0:
                break
            kept.insert(0, turn)
        return kept


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text takes; rather too many than too few."""
    return len(text.encode(errors="replace")) // 3 + 8
