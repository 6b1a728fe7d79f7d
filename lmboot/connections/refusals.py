"""What a server's error means: which fault it is, and whether to ask again with less; pure.

Servers report errors as an object, a string or a list, with an honest status or with 200. Their
words are a stranger's: they are cut, cleaned of hidden characters, and of the token if they
repeat it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from lmboot.connections.dialects import DIALECTS, Step, remedy
from lmboot.connections.fields import mapping, read_json, rows, words
from lmboot.connections.interface import Model
from lmboot.errors import (
    ConnectionFault,
    ContextOverflow,
    NoServer,
    NoSuchModel,
    NothingLoaded,
    ServerRefused,
    TokenRefused,
)
from lmboot.text import brief

_MAX_JUDGED = 4_000  # characters: a template's text may stand before the reason
AUTHORISE = (
    "The window asks for it; in a terminal, name the server with --server and set LLM_API_KEY (or "
    "LM_API_TOKEN for LM Studio)."
)
WRONG_ADDRESS = "Check the address: it is the server's own, such as http://127.0.0.1:1234."


@dataclass(frozen=True, slots=True)
class Report:
    """One error as a server reported it; `text` and `code` are clean, `text` may be long."""

    status: int
    text: str
    code: str = ""

    @property
    def said(self) -> str:
        """Return what may stand inside a message."""
        return brief(self.text or self.code) or f"status {self.status} without a reason"

    @property
    def judged(self) -> str:
        """Return the words that tell what the error means."""
        return f"{self.text} {self.code}"


class ServerSaid(Exception):
    """A server reported an error; never leaves this package."""

    def __init__(self, report: Report) -> None:
        super().__init__(report.said)
        self.report = report


def report_in(value: object, *, status: int, secret: str | None = None) -> Report | None:
    """Return the error that a JSON value reports, None where it reports none."""
    error = _error_in(mapping(value))
    if error is None:
        return None
    text, code = _text_and_code(error)
    return Report(status, _clean(text, secret), _clean(code, secret))


def report_of_body(body: bytes, *, status: int, secret: str | None = None) -> Report:
    """Return what the body of an error status says, whatever its form."""
    report = report_in(read_json(body), status=status, secret=secret)
    if report is not None:
        return report
    text = body[: _MAX_JUDGED * 4].decode("utf-8", "replace")
    return Report(status, "" if text.lstrip().startswith("<") else _clean(text, secret))


def _error_in(value: dict[str, Any]) -> object:
    for key in ("error", "detail"):
        if value.get(key):
            return value[key]
    if value.get("object") == "error" or value.get("type") == "error":
        return value
    return value if isinstance(value.get("message"), str) and "choices" not in value else None


def _text_and_code(error: object) -> tuple[str, str]:
    if isinstance(error, str):
        return error, ""
    if isinstance(error, list):
        return "; ".join(_text_and_code(item)[0] for item in rows(error)[:5]), ""
    members = mapping(error)
    if isinstance(members.get("error"), (str, dict)):
        return _text_and_code(members["error"])
    message = next((m for m in (members.get("message"), members.get("msg")) if m), "")
    codes = (members.get("type"), members.get("code"))
    return message if isinstance(message, str) else "", " ".join(
        code for code in codes if isinstance(code, str)
    )


def _clean(text: str, secret: str | None) -> str:
    if secret:
        text = text.replace(secret, "[token]")
    return words(text, _MAX_JUDGED) or ""


# ---------------------------------------------------------------------- asking again with less

_SCHEMA = re.compile(
    r"grammar|sampler|response_format|json_schema|schema|structured.output|outlines"
    r"|'type' must be a string",
    re.I,
)
_SYSTEM = re.compile(
    r"only user(?:,| and) ?assistant|system role|got system|system.{0,30}not supported"
    r"|roles must alternate",
    re.I,
)
_EXTRAS = re.compile(
    r"'?stream(?:_options)?'? is not supported|stream_options|include_usage", re.I
)
_UNDERSTOOD = frozenset({200, 400, 415, 422, 500, 501})


def step_down(report: Report, *, sent_schema: bool, sent_system: bool) -> Step | None:
    """Return what to leave out before asking once more, None where that would not help."""
    if report.status not in _UNDERSTOOD or _means(report) is not ServerRefused:
        return None
    if sent_system and _SYSTEM.search(report.judged):
        return "system"
    if _EXTRAS.search(report.judged):
        return "extras"
    if sent_schema and (report.status == 422 or _SCHEMA.search(report.judged)):
        return "schema"
    return None


# ---------------------------------------------------------------------- which fault it is

_MEANINGS: tuple[tuple[type[ConnectionFault], re.Pattern[str]], ...] = (
    (
        TokenRefused,
        re.compile(r"api token is required|invalid_api_key|(?:invalid|incorrect) api key", re.I),
    ),
    (NoServer, re.compile(r"unexpected endpoint or method|invalid host header", re.I)),
    (
        ContextOverflow,
        re.compile(
            r"exceed\w* (?:the )?(?:available |maximum |model'?s )?context|context_length_exceeded"
            r"|exceed_context_size|context length of only|context the overflows"
            r"|n_keep\b.{0,40}n_ctx|maximum context length|context window|prompt is too long",
            re.I,
        ),
    ),
    (
        NothingLoaded,
        re.compile(
            r"no models? (?:is |are )?(?:currently )?loaded|failed to load model|loading aborted"
            r"|model_load_failed|insufficient system resources|^loading model|model not loaded",
            re.I,
        ),
    ),
    (
        NoSuchModel,
        re.compile(
            r"model.{0,200}(?:not found|does not exist)|model_not_found|invalid model identifier"
            r"|no such model|unknown model",
            re.I,
        ),
    ),
)
_ELSEWHERE = frozenset({301, 302, 303, 307, 308, 404, 405, 410})


def _means(report: Report) -> type[ConnectionFault]:
    if report.status == 401:
        return TokenRefused
    for fault, pattern in _MEANINGS:
        if pattern.search(report.judged):
            return fault
    if report.status == 403:
        return TokenRefused
    return NoServer if report.status in _ELSEWHERE else ServerRefused


def fault_of(report: Report, model: Model, *, needed_tokens: int = 0) -> ConnectionFault:
    """Return the fault that a report means when this model was asked, with what to do about it."""
    kind = _means(report)
    label = DIALECTS[model.kind].label
    message, hint = {
        TokenRefused: (f"{label} wants a valid token", AUTHORISE),
        NoServer: (f"{model.server} has no chat endpoint", WRONG_ADDRESS),
        ContextOverflow: (
            f"the prompt does not fit into the context that {model.name} is loaded with",
            remedy(model, needed_tokens),
        ),
        NothingLoaded: (f"{label} has no model ready", _load_hint(model)),
        NoSuchModel: (
            f"{label} has no model {model.id!r}",
            "Choose one of those that it lists (in a terminal: `lmboot models`).",
        ),
        ServerRefused: (f"{label} refused", _refusal_hint(report)),
    }[kind]
    return kind(f"{message}: {report.said}", hint=hint)


def server_fault(report: Report, base: str) -> ConnectionFault:
    """Return the fault that a report means when a list or a fingerprint was asked for."""
    kind = _means(report)
    if kind is TokenRefused:
        return kind(f"{base} wants a valid token: {report.said}", hint=AUTHORISE)
    if kind is NoServer:
        return kind(f"{base} has no list of models: {report.said}", hint=WRONG_ADDRESS)
    return kind(f"{base} refused: {report.said}", hint=_refusal_hint(report))


def _load_hint(model: Model) -> str:
    if model.kind == "lmstudio":
        return "Load a model in LM Studio, or choose a smaller one if memory ran out."
    return "Wait until the server has loaded its model, or choose a smaller one."


def _refusal_hint(report: Report) -> str:
    if "has crashed" in report.text:
        return "Reload the model; if it crashes again, try a smaller context or another model."
    if report.status in (429, 503):
        return "The server is busy; ask again in a moment."
    return "Look into the server's log for more."
