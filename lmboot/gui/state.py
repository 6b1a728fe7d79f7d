"""What the window says and allows in every state, and what leads from one to another; pure.

One table for the words and the enabled actions, one for the transitions. What the user does (an
Action) and what happens by itself (an Event) are the two kinds of trigger.

Plain enums and named tuples: this is imported before the window is mapped, and dataclasses would
bring `inspect` along.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import NamedTuple

from lmboot.text import brief


class State(Enum):
    """Where the window is."""

    LOOKING = "looking"
    NO_SERVER = "no server"
    NO_MODEL = "no model"
    IDLE = "ready"
    LOADING = "loading"
    STREAMING = "streaming"
    STALLED = "stalled"
    INVALID = "rejected"
    REVIEW = "review"
    REPLACING = "replacing"
    WRITING = "writing"
    RUNNING = "running"
    STOPPING = "stopping"
    ENDED = "ended"
    CRASHED = "crashed"
    CLOSING = "closing"


class Action(Enum):
    """What the user can do; the value is the label on the button and in the menu."""

    REFRESH = "Refresh"
    OPEN_GGUF = "Open .gguf…"
    START_SERVER = "How to start it"
    SETTINGS = "Settings…"
    CHOOSE = "Choose"
    BOOTSTRAP = "Bootstrap"
    CANCEL = "Cancel"
    RETRY = "Ask again"
    REPAIR = "Ask model to repair"
    SAVE_REPLY = "Save reply…"
    WRITE_AND_RUN = "Write & run"
    BACK = "Back"
    SEND = "Send"
    INTERRUPT = "Interrupt"
    STOP = "Stop"
    KILL = "Kill now"
    RESTART = "Run again"
    KEEP_FILES = "Keep files…"
    CLOSE = "Quit"


class Event(Enum):
    """What happens without the user."""

    MODELS_LISTED = "at least one model is listed"
    NO_MODELS = "a server answered, but lists no model"
    SERVER_GONE = "no server answers"
    ASKED = "a request went to the model"
    PIECE = "a piece of the reply came"
    QUIET = "no piece came for a while"
    REFUSED = "the last reply held no valid payload"
    FAILED = "the asking or the launch failed, as its message tells"
    CONSENT_WANTED = "a payload waits for the user's consent"
    AGREED_BEFORE = "a payload is launched that was agreed to already"
    STARTED = "the runtime started"
    CANCELLED = "a launch was called off; nothing runs"
    ENDED = "the runtime ended with status 0, or because it was told to"
    CRASHED = "the runtime ended by itself with another status, by a limit, or uncleanly"


Trigger = Action | Event


class Card(NamedTuple):
    """The main area's words, as templates: what happened, what it means, what to do."""

    happened: str
    means: str
    to_do: str


class Row(NamedTuple):
    """One state: the status line's template, the card, and what is enabled."""

    status: str
    card: Card
    actions: frozenset[Action]


_ANY_TIME = frozenset({Action.SETTINGS, Action.CLOSE})
_FREE = _ANY_TIME | {Action.REFRESH, Action.OPEN_GGUF, Action.CHOOSE}
_OVER = _FREE | {Action.BOOTSTRAP, Action.RESTART, Action.KEEP_FILES, Action.BACK, Action.SEND}

ROWS: Mapping[State, Row] = {
    State.LOOKING: Row(
        "looking for model servers",
        Card(
            "Looking for model servers.",
            "LM Studio, Ollama, llama.cpp and others are found by themselves.",
            "Wait a moment, or open a .gguf file.",
        ),
        _ANY_TIME | {Action.OPEN_GGUF, Action.CHOOSE, Action.BOOTSTRAP},
    ),
    State.NO_SERVER: Row(
        "○ no server · next try in {retry}",
        Card(
            "No model server answers at {server}.",
            "Without a server there is no model to ask. The next try is in {retry}.",
            "Start the server (LM Studio: Developer tab, or `lms server start`), give another "
            "address above, or open a .gguf file.",
        ),
        _FREE | {Action.START_SERVER, Action.BOOTSTRAP},
    ),
    State.NO_MODEL: Row(
        "● connected · 0 models",
        Card(
            "{server} answers, but lists no model.",
            "It runs, and has nothing yet that could be asked.",
            "Download a model in the server's program, then Refresh; or open a .gguf file.",
        ),
        _FREE | {Action.BOOTSTRAP},
    ),
    State.IDLE: Row(
        "ready · {model}",
        Card(
            "{model} is chosen.",
            "Bootstrap asks it for a small program and shows you every file of it. Nothing is "
            "written or run before you agree; then it runs in a sandbox.",
            "Press Bootstrap, or choose another model at the left.",
        ),
        _FREE | {Action.BOOTSTRAP},
    ),
    State.LOADING: Row(
        "waiting for {model} · {elapsed}",
        Card(
            "{model} was asked; nothing has come yet.",
            "It is being loaded, or reads the question. A large model takes minutes for that.",
            "Wait, or Cancel and choose a smaller one.",
        ),
        _ANY_TIME | {Action.CANCEL},
    ),
    State.STREAMING: Row(
        "{size} · {tokens} tok · {rate} tok/s · first after {first} · {elapsed}",
        Card(
            "{model} writes its reply.",
            "The text is only shown. It is judged when it is whole.",
            "Wait for the review, or Cancel.",
        ),
        _ANY_TIME | {Action.CANCEL},
    ),
    State.STALLED: Row(
        "stalled · nothing for {quiet}",
        Card(
            "Nothing has come for {quiet}.",
            "The server may be busy, or the model may be stuck. The request is still open.",
            "Wait, or Cancel and ask again.",
        ),
        _ANY_TIME | {Action.CANCEL},
    ),
    State.INVALID: Row(
        "payload rejected · {problems}",
        Card(
            "The model's reply isn't a valid payload: {problem}.",
            "Nothing was written or run. What is wrong stands here, and the reply below it.",
            "Ask the model to repair it, ask again, or choose a larger model.",
        ),
        _FREE | {Action.BOOTSTRAP, Action.REPAIR, Action.RETRY, Action.SAVE_REPLY, Action.BACK},
    ),
    State.REVIEW: Row(
        "needs your consent · {payload}",
        Card(
            "{model} wrote a program: {payload}.",
            "Nothing is written or run before you agree. What you see here is what will run.",
            "Read the files, then Write & run, or go Back.",
        ),
        _ANY_TIME | {Action.WRITE_AND_RUN, Action.SAVE_REPLY, Action.BACK},
    ),
    State.REPLACING: Row(
        "needs your consent · {payload} · {runtime} still runs",
        Card(
            "{model} wrote another program: {payload}.",
            "{runtime} still runs. It is ended when you agree, and goes on when you don't.",
            "Read the files, then Write & run, or go Back.",
        ),
        _ANY_TIME | {Action.WRITE_AND_RUN, Action.SAVE_REPLY, Action.BACK},
    ),
    State.WRITING: Row(
        "writing and starting {payload}",
        Card(
            "You agreed to {payload}.",
            "Its files are written to a workspace of their own, and {sandbox} is set up.",
            "Wait a moment, or Cancel; then nothing remains.",
        ),
        _ANY_TIME | {Action.CANCEL},
    ),
    State.RUNNING: Row(
        "running · {runtime} · {sandbox} · {elapsed}",
        Card(
            "{runtime} runs in {sandbox}.",
            "`:rt` talks to it, `:ai` talks to {model}.",
            "Type below. `:quit` or Stop ends it.",
        ),
        _ANY_TIME | {Action.SEND, Action.INTERRUPT, Action.STOP, Action.KEEP_FILES},
    ),
    State.STOPPING: Row(
        "stopping · asked {elapsed} ago",
        Card(
            "{runtime} was asked to end.",
            "It has two seconds to do so; then it and all its processes are ended.",
            "Wait, or Kill now; what it has not written yet is lost then.",
        ),
        _ANY_TIME | {Action.KILL},
    ),
    State.ENDED: Row(
        "ended · {runtime} · status {code}",
        Card(
            "{runtime} ended after {elapsed}, with status {code}.",
            "Nothing of it runs any more. Its files go when you leave this page.",
            "Keep its files, run it again, or bootstrap anew.",
        ),
        _OVER,
    ),
    State.CRASHED: Row(
        "crashed · {runtime} · {reason}",
        Card(
            "{runtime} ended after {elapsed}: {reason}.",
            "It did not end because you asked for it. Its last messages are in the session.",
            "Read them, run it again, or bootstrap anew.",
        ),
        _OVER,
    ),
    State.CLOSING: Row(
        "closing",
        Card(
            "Closing.",
            "Whatever still runs is ended first, and the transcript is finished.",
            "Wait two seconds at most; Kill now ends everything at once.",
        ),
        frozenset({Action.KILL}),
    ),
}

# The first state, and the only one that nothing leads out of: the window goes with it.
FIRST, LAST = State.LOOKING, State.CLOSING

_SHORT = 300  # characters of one value; a longer error stands in full in the session
_UNKNOWN = "—"

_LISTED: Mapping[Trigger, State] = {
    Event.MODELS_LISTED: State.IDLE,
    Event.NO_MODELS: State.NO_MODEL,
    Event.SERVER_GONE: State.NO_SERVER,
}
# A payload can come without a model being asked: from a file, or from those that were kept.
_GIVEN: Mapping[Trigger, State] = {
    Event.CONSENT_WANTED: State.REVIEW,
    Event.AGREED_BEFORE: State.WRITING,
}
# The seed model and opened files are there without a server.
_WAITING: Mapping[Trigger, State] = {
    **_LISTED,
    **_GIVEN,
    Action.CHOOSE: State.IDLE,
    Action.BOOTSTRAP: State.LOADING,
}
_ASKING: Mapping[Trigger, State] = {
    Event.ASKED: State.LOADING,  # once more: with the problems, or with more room
    Event.PIECE: State.STREAMING,
    Event.REFUSED: State.INVALID,
    Event.FAILED: State.IDLE,
    Event.SERVER_GONE: State.NO_SERVER,
    Action.CANCEL: State.IDLE,
    **_GIVEN,
}
_FINISHED: Mapping[Trigger, State] = {
    Event.ENDED: State.ENDED,
    Event.CRASHED: State.CRASHED,
}
_ANEW: Mapping[Trigger, State] = {
    Action.BOOTSTRAP: State.LOADING,
    Action.RESTART: State.WRITING,
    Action.BACK: State.IDLE,
    Event.ASKED: State.LOADING,  # a trigger was typed into the session
    **_GIVEN,
}

_TRANSITIONS: Mapping[State, Mapping[Trigger, State]] = {
    State.LOOKING: _WAITING,
    State.NO_SERVER: {**_WAITING, Action.REFRESH: State.LOOKING},
    State.NO_MODEL: {**_WAITING, Action.REFRESH: State.LOOKING},
    State.IDLE: {**_LISTED, **_GIVEN, Action.BOOTSTRAP: State.LOADING},
    State.LOADING: _ASKING,
    State.STREAMING: {**_ASKING, Event.QUIET: State.STALLED},
    State.STALLED: _ASKING,
    State.INVALID: {
        **_GIVEN,
        Event.ASKED: State.LOADING,
        Action.BOOTSTRAP: State.LOADING,
        Action.RETRY: State.LOADING,
        Action.REPAIR: State.LOADING,
        Action.BACK: State.IDLE,
    },
    State.REVIEW: {
        Action.WRITE_AND_RUN: State.WRITING,
        Action.BACK: State.IDLE,
        Event.FAILED: State.IDLE,
    },
    State.REPLACING: {
        Action.WRITE_AND_RUN: State.WRITING,
        Action.BACK: State.RUNNING,
        Event.FAILED: State.RUNNING,
        Event.ENDED: State.REVIEW,  # there is nothing left to replace
        Event.CRASHED: State.REVIEW,
    },
    State.WRITING: {
        Event.STARTED: State.RUNNING,
        Event.FAILED: State.IDLE,
        Event.CONSENT_WANTED: State.REVIEW,  # run again, but not as it was agreed to
        # Not at once: something may have been started already, and must be gone first.
        Action.CANCEL: State.STOPPING,
    },
    State.RUNNING: {
        **_FINISHED,
        Event.CONSENT_WANTED: State.REPLACING,
        Event.AGREED_BEFORE: State.WRITING,
        Action.STOP: State.STOPPING,
    },
    State.STOPPING: {**_FINISHED, Event.CANCELLED: State.IDLE, Event.FAILED: State.IDLE},
    State.ENDED: _ANEW,
    State.CRASHED: _ANEW,
    State.CLOSING: {},
}


def after(state: State, trigger: Trigger) -> State:
    """Return the state that a trigger leads to; one that the state does not know leaves it."""
    if trigger is Action.CLOSE:
        return State.CLOSING
    return _TRANSITIONS[state].get(trigger, state)


def enabled(state: State, action: Action) -> bool:
    """Say whether the user can do this now."""
    return action in ROWS[state].actions


def status(state: State, facts: Mapping[str, str]) -> str:
    """Return the status line; a fact that is not known is a dash."""
    return _filled(ROWS[state].status, facts)


def card(state: State, facts: Mapping[str, str]) -> Card:
    """Return the main area's words; a fact that is not known is a dash."""
    return Card(*(_filled(each, facts) for each in ROWS[state].card))


class _Facts(dict[str, str]):
    def __missing__(self, _: str) -> str:
        return _UNKNOWN


def _filled(template: str, facts: Mapping[str, str]) -> str:
    """Put the facts in, each as one short line: models and servers name themselves."""
    short = {name: brief(value, _SHORT) for name, value in facts.items()}
    return template.format_map(_Facts(short))
