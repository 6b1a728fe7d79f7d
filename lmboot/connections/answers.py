"""Bytes of a chat answer in, events out; pure.

A server may stream, send one JSON document in place of a stream, or send something that is no
answer at all. Errors come at any time and before anything else in a chunk. `AnswerReader` decides
which it is by the first byte; `Answer` turns one decoded chunk into events.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from lmboot.connections.dialects import same_model
from lmboot.connections.fields import count, mapping, read_json, rows, words
from lmboot.connections.interface import Event, Finished, Notice, Text, Thinking
from lmboot.connections.refusals import (
    WRONG_ADDRESS,
    ServerSaid,
    report_in,
    report_of_body,
)
from lmboot.connections.sse import ServerSentEvent, SseReader
from lmboot.errors import ConnectionLost, NoServer, ServerRefused

MAX_ANSWER_CHARACTERS = 32 << 20  # twice the longest reply that is judged; thinking counts
MAX_DOCUMENT_BYTES = 64 << 20  # the same as one JSON document with its escapes
MAX_BLANKS = 4_000  # in a row; constrained models fall into endless indentation

_BLANK_OR_MARK = b" \t\r\n\xef\xbb\xbf"
_SURROGATE = re.compile("[\ud800-\udfff]")


class AnswerReader:
    """Turn an answer's bytes into events; `asked_model` is compared with who answers."""

    def __init__(self, asked_model: str | None, *, secret: str | None = None) -> None:
        self.answer = Answer(asked_model, secret=secret)
        self._secret = secret
        self._sse = SseReader()
        self._began = False
        self._is_document = False
        self._document = bytearray()
        self._events_seen = 0

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """Yield what `chunk` completes; ServerSaid at an error, after what came before it."""
        if not self._began:
            chunk = chunk.lstrip(_BLANK_OR_MARK)
            if not chunk:
                return
            self._began = True
            self._is_document = chunk[:1] in (b"{", b"[", b"<")
        if self._is_document:
            self._hold(chunk)
        else:
            yield from self._take(self._sse.feed(chunk))

    def close(self, *, schema_enforced: bool = False) -> Iterator[Event]:
        """Yield the last events, `Finished` the very last; ConnectionLost if it is not due."""
        if self._is_document:
            yield from self._whole()
        else:
            yield from self._take(self._sse.close())
            if self._began and not self._events_seen:
                raise no_answer("its answer is neither a stream nor JSON")
        yield from self.answer.finish(schema_enforced=schema_enforced)

    def _hold(self, chunk: bytes) -> None:
        self._document += chunk
        if len(self._document) > MAX_DOCUMENT_BYTES:
            raise ServerRefused(
                f"the server sent a document of more than {MAX_DOCUMENT_BYTES:,} bytes",
                hint="Look into the server's log.",
            )

    def _whole(self) -> list[Event]:
        value = read_json(bytes(self._document))
        report = report_in(value, status=200, secret=self._secret)
        if report is not None:
            raise ServerSaid(report)
        if not rows(mapping(value).get("choices")):
            raise no_answer("its answer is no chat completion")
        self.answer.done = True
        return self.answer.take(mapping(value))

    def _take(self, arrived: list[ServerSentEvent]) -> Iterator[Event]:
        for event in arrived:
            self._events_seen += 1
            if not self.answer.over:
                yield from self._translate(event)

    def _translate(self, event: ServerSentEvent) -> list[Event]:
        data = event.data.strip()
        if event.name == "error":
            body = data.encode("utf-8", "replace")
            raise ServerSaid(report_of_body(body, status=200, secret=self._secret))
        if not data:
            return []
        if data == "[DONE]":
            self.answer.done = True
            return []
        value = read_json(data)
        if not isinstance(value, dict):
            raise self.answer.lost("the server's stream is damaged")
        return self.answer.take(value)


class Answer:
    """What has come of one answer: events for each chunk, and how it ended."""

    def __init__(self, asked_model: str | None, *, secret: str | None = None) -> None:
        self.done = False
        self._asked_model = asked_model
        self._secret = secret
        self._model: str | None = None
        self._reason: str | None = None
        self._usage: tuple[int | None, int | None] = (None, None)
        self._parts: list[str] = []
        self._characters = 0
        self._blanks = 0
        self._thought = False
        self._stopped: str | None = None
        self._content, self._thinking = _Surrogates(), _Surrogates()

    @property
    def over(self) -> bool:
        """Say whether nothing more is to be read."""
        return self.done or self._stopped is not None

    @property
    def ended(self) -> bool:
        """Say whether the answer is whole; a count of tokens may still come."""
        return self.done or self._reason is not None

    def take(self, chunk: dict[str, Any]) -> list[Event]:
        """Return the events of one chunk, or of a whole completion; ServerSaid for an error."""
        report = report_in(chunk, status=200, secret=self._secret)
        if report is not None:
            raise ServerSaid(report)
        events: list[Event] = self._compare_model(chunk)
        self._count(mapping(chunk.get("usage")))
        choice = next(iter(rows(chunk.get("choices"))), {})
        said = mapping(choice.get("delta")) or mapping(choice.get("message"))
        events += self._pieces(said)
        reason = words(choice.get("finish_reason"), 40)
        self._reason = reason or self._reason
        return events

    def finish(self, *, schema_enforced: bool) -> list[Event]:
        """Return the last events of a whole answer; ConnectionLost where it broke off."""
        if not (self.ended or self._stopped):
            raise self.lost("the connection ended before the answer did")
        reason = "length" if self._stopped else self._reason or "stop"
        events: list[Event] = [Notice(self._stopped)] if self._stopped else []
        if reason == "length" and self._thought and not "".join(self._parts).strip():
            events.append(Notice("the model spent all of max_tokens on thinking"))
        prompt_tokens, answer_tokens = self._usage
        events.append(Finished(reason, prompt_tokens, answer_tokens, self._model, schema_enforced))
        return events

    def lost(self, message: str) -> ConnectionLost:
        """Return the fault for an answer that broke off, with the text that had come."""
        text = "".join(self._parts)
        came = f" after {len(text):,} characters" if text else ""
        hint = "Ask again; if it happens again, look into the server's log."
        return ConnectionLost(f"{message}{came}", hint=hint, text=text)

    def _compare_model(self, chunk: dict[str, Any]) -> list[Event]:
        name = words(chunk.get("model"))
        if name is None or self._model is not None:
            return []
        self._model = name
        if self._asked_model is None or same_model(self._asked_model, name):
            return []
        return [Notice(f"another model answers: {name}, not {self._asked_model}")]

    def _count(self, usage: dict[str, Any]) -> None:
        prompt_tokens = count(usage.get("prompt_tokens"))
        if prompt_tokens is not None:  # LM Studio reports zeros where it does not know
            self._usage = prompt_tokens, count(usage.get("completion_tokens")) or 0

    def _pieces(self, said: dict[str, Any]) -> list[Event]:
        events: list[Event] = []
        thinking = self._thinking.mended(_text(said, "reasoning_content", "reasoning"))
        if thinking:
            self._thought = True
            events.append(Thinking(thinking))
        content = self._content.mended(_text(said, "content"))
        if content:
            self._parts.append(content)
            events.append(Text(content))
        self._guard(thinking + content)
        return events

    def _guard(self, piece: str) -> None:
        self._characters += len(piece)
        kept = piece.rstrip()
        self._blanks = len(piece) - len(kept) + (0 if kept else self._blanks)
        if self._blanks >= MAX_BLANKS:
            self._stopped = f"stopped reading: the model wrote {self._blanks:,} blanks in a row"
        elif self._characters > MAX_ANSWER_CHARACTERS:
            self._stopped = f"stopped reading after {self._characters:,} characters"


class _Surrogates:
    """Joins characters that a server cut in two across chunks, as halves of a surrogate pair."""

    def __init__(self) -> None:
        self._held = ""

    def mended(self, piece: str) -> str:
        """Return the piece with what was held before it; half a pair alone becomes U+FFFD."""
        if not piece:
            return ""
        text, self._held = self._held + piece, ""
        if "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        if _SURROGATE.search(text):
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        return text


def no_answer(why: str) -> NoServer:
    """Return the fault for something else than a model server at the address."""
    return NoServer(f"something else answers at that address: {why}", hint=WRONG_ADDRESS)


def _text(said: dict[str, Any], *keys: str) -> str:
    return next((said[key] for key in keys if isinstance(said.get(key), str) and said[key]), "")
