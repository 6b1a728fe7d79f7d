"""`lmboot check`: judge a reply, say everything about it, write and run nothing."""

from __future__ import annotations

import json
import sys

from lmboot.bootstrap.judge import Verdict, judge_bytes
from lmboot.bootstrap.payload import MAX_REPLY_BYTES
from lmboot.bootstrap.review import warnings_about
from lmboot.cli.files import read_file
from lmboot.text import reveal


def check_file(file: str, as_json: bool) -> int:
    """Judge the reply in a file; return 0 when it is good, 1 when it is not."""
    verdict = judge_bytes(read_file(file, MAX_REPLY_BYTES))
    if as_json:
        sys.stdout.write(json.dumps(verdict.as_json()) + "\n")
    else:
        sys.stdout.write("".join(reveal(line) + "\n" for line in verdict_lines(verdict)))
    return 0 if verdict.ok else 1


def verdict_lines(verdict: Verdict) -> list[str]:
    """Return a verdict in words, a line each."""
    lines = [f"problem  {each.code:14} {each.where}: {each.message}" for each in verdict.problems]
    lines += [f"repaired {each.code:14} {each.where}" for each in verdict.repairs]
    lines += [f"note     {each.code:14} {each.where}: {each.message}" for each in verdict.notes]
    if verdict.payload is None:
        return [*lines, "refused"]
    lines += [f"warning  {sentence}" for sentence in warnings_about(verdict.payload, verdict)]
    return [*lines, verdict.payload.summary]
