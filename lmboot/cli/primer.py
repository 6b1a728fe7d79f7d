"""`lmboot primer`: the texts to put into a server oneself."""

from __future__ import annotations

import json
import sys

from lmboot.bootstrap import prompts


def print_primer(form: str) -> int:
    """Print the primer and the trigger in one of three forms."""
    if form == "modelfile":
        text = prompts.modelfile()
    elif form == "json":
        members = {
            "primer": prompts.PRIMER,
            "trigger": prompts.TRIGGER,
            "triggers": list(prompts.TRIGGERS),
            "schema": prompts.SCHEMA,
        }
        text = json.dumps(members, indent=1) + "\n"
    else:
        text = f"{prompts.PRIMER}\n\n{prompts.TRIGGER}\n"
    sys.stdout.write(text)
    return 0
