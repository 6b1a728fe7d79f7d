"""Every text that lmboot itself sends to a model: the primer, the triggers, the questions after.

The seed model is trained on PRIMER, TRIGGERS, GUEST_API and the text of `interactive`; its file
holds their SHA-256, and a test fails when they differ. After a change here, run the one command
in assets/seed/README.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lmboot.runtime.policy import ROUTES

TRIGGERS = ("### RUNTIME_BOOTSTRAP ###", "### BOOTSTRAP_RUNTIME ###", "BOOTSTRAP_AI_RUNTIME_NOW")
TRIGGER = TRIGGERS[0]

GUEST_API = """\
from guest_sys import call, routes. \
call("fs.open", path=p), call("fs.read_text", path=p), call("fs.write_text", path=p, text=t), \
call("fs.list", path=""), call("fs.remove", path=p) and call("fetch", url=u) return the result \
or raise an OSError; routes() returns a dict from operation to route."""

PRIMER = f"""\
You are the runtime generator of lmboot. When the user's whole message is a trigger line such as \
{TRIGGER}, answer with one JSON object and nothing else, no prose and no code fence:

{{"manifest": {{"name": "shell", "version": "1.0", "routes": {{"fs.list": "EMULATE"}}}},
 "files": [{{"path": "shell.py", "content": "..."}}],
 "entrypoint": "python shell.py"}}

A route is EMULATE (in memory), HOST (the user's computer, by permission) or DENY. Paths are \
relative, with / between the parts. The entrypoint is python, one of the files, then its \
arguments; there is no shell.

The program is an interactive runtime. It prints a line when it is ready, then reads one command \
per line from standard input and answers on standard output, until the input ends. A prompt \
without a newline is welcome; flush after every write. It has a command help. An error is \
printed and never ends the program.

Its world is Python 3.9 or newer with the standard library only, no network and no files but its \
own. The host provides a module for everything else, so do not write that: {GUEST_API}

Answer any other message as a helpful assistant, in plain words."""

LAST_LINES = "The runtime's last lines:"

SCHEMA: dict[str, Any] = {
    # Plain on purpose: servers refuse or ignore patterns, formats and unions. Every key that is
    # required stands in the order in which grammars make a model write it.
    "type": "object",
    "properties": {
        "manifest": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "routes": {
                    "type": "object",
                    "additionalProperties": {"type": "string", "enum": list(ROUTES)},
                },
            },
            "required": ["name", "version", "routes"],
            "additionalProperties": False,
        },
        "files": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "properties": {"path": {"type": "string"}, "content": {"type": "string"}},
                "required": ["path", "content"],
                "additionalProperties": False,
            },
        },
        "entrypoint": {"type": "string"},
    },
    "required": ["manifest", "files", "entrypoint"],
    "additionalProperties": False,
}

_MODELFILE = """\
# For Ollama: put your model's name after FROM, then: ollama create bootstrapper -f Modelfile
# The line that starts a bootstrap: {trigger}
FROM llama3.2
PARAMETER temperature 0
SYSTEM {quotes}{primer}{quotes}
"""


def repair(problems: Sequence[str]) -> str:
    """Return the text that asks a model to mend its payload; one problem a line."""
    listed = "\n".join(f"- {problem}" for problem in problems)
    return (
        f"Your payload had these problems:\n{listed}\n"
        "Answer again with the whole corrected JSON object and nothing else."
    )


def interactive(name: str, routes: Mapping[str, str]) -> str:
    """Return the system text of an `:ai` conversation beside a running runtime."""
    table = ", ".join(f"{operation} {route}" for operation, route in routes.items()) or "none"
    return (
        f"You are in interactive mode now. The runtime {name!r} is open beside this conversation; "
        f"the user talks to it with :rt and to you with :ai. Routes: {table}. "
        "Answer the user in plain words."
    )


def with_last_lines(text: str, lines: Sequence[str]) -> str:
    """Return the text of `:ai+`: the question, then what the runtime printed last."""
    return "\n".join([text, "", LAST_LINES, *lines])


def modelfile() -> str:
    """Return an Ollama Modelfile that holds the primer."""
    return _MODELFILE.format(trigger=TRIGGER, primer=PRIMER, quotes='"""')
