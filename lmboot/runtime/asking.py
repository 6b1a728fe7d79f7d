"""What a person is asked when a runtime wants what nobody has granted, and the answer; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from lmboot.runtime.kinds import consent, kind_of
from lmboot.text import brief

Scope = Literal["no", "once", "while", "always"]
WHILE_MINUTES = 15  # how long "for a while" is


@dataclass(frozen=True, slots=True)
class Question:
    """One thing that a runtime wants: an operation, and of what.

    `what` is a host, the name of a folder, a program; empty where the operation is all there is to
    it. `chooses_folder`: an answer that grants must name the folder of the person's that is meant.
    """

    op: str
    what: str = ""
    chooses_folder: bool = False

    @property
    def kind(self) -> str:
        """Return the kind of grant that would answer it."""
        return kind_of(self.op)

    @property
    def name(self) -> str:
        """Return what such a grant is called."""
        return self.what or self.kind

    @property
    def words(self) -> str:
        """Return it as a line that says what is agreed to; what a runtime wrote is harmless."""
        what = f" {brief(self.what, 200)}" if self.what else ""
        agreed = consent(self.op, chooses_folder=self.chooses_folder)
        return f"The runtime asks for {self.op}{what}. {agreed} Allow it?"


@dataclass(frozen=True, slots=True)
class Answer:
    """`once`: this request; `while`: a quarter of an hour; `always`: this payload, from now on.

    `folder` is the path of what was chosen, where the question lets one be chosen.
    """

    scope: Scope
    folder: str = ""
