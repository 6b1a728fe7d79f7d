"""Judges what a request needs beyond its route, and asks the person where nothing grants it.

A question is asked once at a time, however many requests wait for it, and never again after a no.
A guest that goes on asking for other things is cut off, so that nobody answers out of weariness.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Any, Protocol, cast

from lmboot.errors import AuditFault, LmbootError, UsageFault
from lmboot.runtime.asking import Answer, Question
from lmboot.runtime.grants import Grants, Held
from lmboot.runtime.kinds import KINDS
from lmboot.runtime.operations import Needing, Operation, Refused
from lmboot.text import brief

MOST_WAITING = 4  # different questions at once
MOST_REFUSED = 5  # one after the other; whoever was refused so often is not heard any more
MOST_ASKED = 100  # of one run
TRIES = 3  # for an answer that can be carried out

Ask = Callable[[Question], Awaitable[Answer]]
_Key = tuple[str, str]  # kind of grant, name: to list a folder and to read in it is one question


class Person(Protocol):
    """Who answers, and what is told and recorded of it."""

    @property
    def ask(self) -> Ask | None:
        """Return who puts a question to the person; None where nobody can be asked."""

    def tell(self, text: str) -> None:
        """Say something on `sys`."""

    def record(self, question: Question, answer: Answer | None) -> None:
        """Record that it is asked, then the answer; what raises AuditFault is not granted."""

    def granted(self, held: Held) -> None:
        """Take note of a grant that was answered for longer than once."""


@dataclass(eq=False, slots=True)
class _Open:
    """A question that is open: what becomes of it, and how many requests wait for that."""

    question: Question
    settled: asyncio.Task[Held]
    waiting: int = 0
    taken: bool = False  # whether what was granted once has gone to its request

    def goes_to(self, question: Question, held: Held) -> bool:
        """Say whether an answer is for whoever asked this: once is for what was shown, no more.

        Another operation of its kind that waited along is asked for by itself then.
        """
        if held.scope != "once":
            return True
        if self.taken or question != self.question:
            return False
        self.taken = True
        return True

    def give_up(self) -> None:
        """Withdraw it: nobody waits any more."""
        self.settled.cancel()
        done = self.settled.done() and not self.settled.cancelled()
        if done and not self.taken and self.settled.exception() is None:
            self.settled.result().done()


class Permits:
    """The gate of one run's broker."""

    def __init__(
        self, grants: Grants, person: Person, unasked: Collection[str] = frozenset()
    ) -> None:
        """Judge by these grants; for the operations in `unasked` the person is never asked."""
        self._grants, self._person, self._unasked = grants, person, unasked
        self._open: dict[_Key, _Open] = {}
        self._refused: set[_Key] = set()
        self._told: set[_Key] = set()
        self._asked = self._in_a_row = 0
        self._cut_off = False

    async def permit(self, operation: Operation, args: dict[str, Any]) -> Held | None:
        """Return the grant that a request may rest on, None where it needs none; raise Refused."""
        question = _question(operation, args)
        if question is None:
            return None
        return self._grants.covering(question) or await self._wait(question)

    def permit_at_once(self, operation: Operation, args: dict[str, Any]) -> Held | None:
        """Do what `permit` does, or raise BlockingIOError where that takes somebody's answer."""
        question = _question(operation, args)
        if question is None:
            return None
        if held := self._grants.covering(question):
            return held
        self._check_heard(question)
        raise BlockingIOError

    def _tell_unasked(self, question: Question) -> None:
        """Say what the runtime did without, once for each thing and some few times in all."""
        key = _key(question)
        if key in self._told or len(self._told) >= MOST_REFUSED:
            return
        self._told.add(key)
        self._person.tell(
            f"the runtime asked for {_in_words(question)}, which the policy refuses without a "
            f"question; `{command_for(question)}` allows it"
        )

    async def _wait(self, question: Question) -> Held:
        """Wait for the answer; what it grants once goes to the request that asked first."""
        while True:
            opened = self._opened(question)
            opened.waiting += 1
            try:
                held = await asyncio.shield(opened.settled)
                if opened.goes_to(question, held):
                    return held
            finally:
                opened.waiting -= 1
                if not opened.waiting:
                    opened.give_up()

    def _opened(self, question: Question) -> _Open:
        """Return the open question like this one, or open it; raise Refused."""
        ask, key = self._check_heard(question), _key(question)
        if opened := self._open.get(key):
            return opened
        self._asked += 1
        settled = asyncio.create_task(self._settle(question, ask))
        self._open[key] = _Open(question, settled)
        settled.add_done_callback(lambda _: self._closed(key))
        return self._open[key]

    def _closed(self, key: _Key) -> None:
        settled = self._open.pop(key).settled
        if not settled.cancelled():
            settled.exception()  # whoever waited has it; nobody may

    def _check_heard(self, question: Question) -> Ask:
        """Return who answers a question; raise Refused where nobody would be asked."""
        if question.op in self._unasked:
            self._tell_unasked(question)
            raise refusal(question)
        key, ask = _key(question), self._person.ask
        if key in self._refused:
            raise refusal(question)
        if key not in self._open:
            self._check_patience(question)
        if ask is None:
            self._refuse(question)
            self._person.tell(
                f"the runtime asked for {_in_words(question)}, and nobody can be asked here; "
                f"`{command_for(question)}` allows it"
            )
            raise refusal(question)
        return ask

    def _check_patience(self, question: Question) -> None:
        """Raise Refused for a question too many."""
        if self._cut_off or len(self._open) >= MOST_WAITING:
            raise refusal(question)
        if self._in_a_row >= MOST_REFUSED or self._asked >= MOST_ASKED:
            self._cut_off = True
            self._person.tell(
                "the runtime asks for more and more; nothing more is asked until it ends, but "
                ":grant still grants"
            )
            raise refusal(question)

    async def _settle(self, question: Question, ask: Ask) -> Held:
        """Get an answer and carry it out; raise Refused where it grants nothing."""
        try:
            self._person.record(question, None)
            for _ in range(TRIES):
                answer = await ask(question)
                self._person.record(question, answer)
                if answer.scope == "no":
                    break
                try:
                    return await self._grant(question, answer)
                except UsageFault as fault:
                    self._person.tell(fault.in_full)
        except AuditFault:
            raise Refused("not_recorded", "the answer could not be recorded") from None
        except LmbootError as fault:
            self._person.tell(fault.in_full)
        self._refuse(question)
        raise refusal(question)

    async def _grant(self, question: Question, answer: Answer) -> Held:
        held = await self._grants.answer(question, answer)
        self._in_a_row = 0
        if held.scope != "once":
            self._person.granted(held)
        return held

    def _refuse(self, question: Question) -> None:
        self._refused.add(_key(question))
        self._in_a_row += 1


def _question(operation: Operation, args: dict[str, Any]) -> Question | None:
    needs = getattr(operation, "needs", None)  # by its name: isinstance would take 10 us
    return None if needs is None else cast(Needing, operation).needs(args)


def refusal(question: Question) -> Refused:
    """Return what the guest is told: what is missing, not who decided it."""
    what = repr(brief(question.what, 100))
    if _of_a_folder(question):
        known = f"the folder {what} may only be read"
        new = f"no folder {what} was granted"
        return Refused("not_granted", new if question.chooses_folder else known)
    if question.op == "fetch":
        return Refused("not_granted", f"the host {what} is not granted")
    return Refused("not_granted", f"{_in_words(question)} is not granted")


def command_for(question: Question) -> str:
    """Return the command that grants what was asked for."""
    kind, what = question.kind, brief(question.what, 200)
    if _of_a_folder(question):
        return f":grant {kind} DIR as {what}"
    return f":grant {kind} {what}".rstrip()


def _of_a_folder(question: Question) -> bool:
    return question.kind in KINDS and KINDS[question.kind].is_folder


def _key(question: Question) -> _Key:
    return question.kind, question.what


def _in_words(question: Question) -> str:
    return f"{question.op} {brief(question.what, 100)}".rstrip()
