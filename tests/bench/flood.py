"""A runtime that prints as fast as it can, in the real sandbox and the whole program.

Meanwhile somebody types, with real keys. Wanted: the event loop's stalls (how late a heartbeat of
5 ms is) have a p99 below 16 ms, keys one below 8 ms, memory grows by less than 32 MB, and the
transcript has every byte: its SHA-256 is that of what was printed, read as UTF-8. `total_s` is
from the Return that starts the flood to the last row on the screen. The rounds of all kinds are
interleaved; stalls and keys are those of all rounds together, the rest are medians.

The other side is the common recipe, a queue that is emptied line by line every 50 ms, which would
take minutes for as much: it gets a tenth of the lines, without sandbox and without anything else.
"""

from __future__ import annotations

import hashlib
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from tests.bench.display import Others, Watch, agree, desktop, gone, new_home
from tests.cli.program import payload
from tests.connections.lookalike import running
from tests.gui.desktop import ROOT, App, Desktop

ROUNDS = 3
WATCHED = (sys.executable, "-m", "tests.bench.inside")
NAIVE_LINES = 20_000
KEY_SECONDS = 0.1
SETTLING_SECONDS = 2.0  # for what still waits to be shown when the runtime has ended
MOST_SECONDS = 300.0
KINDS = {  # what the runtime prints, as Python has it: an iterable of bytes
    "plain": "(b'%07d %s\\n' % (i, b'x' * 65) for i in range(200_000))",
    "colours": (
        "(b'\\x1b[31mred %07d\\x1b[0m and \\x1b[1;32mgreen %07d\\x1b[0m and \\x1b[38;5;208morange"
        "\\x1b[0m\\n' % (i, i) for i in range(50_000))"
    ),
    "one_line": "(b'%015d ' % i * 64 for i in range(9_766))",
    "hostile": (
        "(b'\\x00%07d \\xed\\xa0\\x80 \\xe2\\x80\\xae%s\\xe2\\x81\\xa6 \\xe2\\x80\\x8b\\n'"
        " % (i, b'x' * 40) for i in range(50_000))"
    ),
}
PROGRAM = """\
import sys
print("ready", flush=True)
sys.stdin.readline()
for piece in {}:
    sys.stdout.buffer.write(piece)
"""


@dataclass
class Taken:
    """What one kind's rounds gave."""

    beats: list[float] = field(default_factory=list)
    keys: list[float] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def figures(self, name: str) -> dict[str, Any]:
        """Return them, in milliseconds, seconds and MB."""
        return {
            f"{name}_total_s": statistics.median(self.total),
            f"{name}_stall_p99_ms": p99(self.beats) * 1e3,
            f"{name}_stall_max_ms": max(self.beats) * 1e3,
            f"{name}_key_p99_ms": p99(self.keys) * 1e3,
            f"{name}_key_max_ms": max(self.keys) * 1e3,
            f"{name}_keys": len(self.keys),
            f"{name}_memory_mb": max(self.memory),
            f"{name}_same_sha256": all(self.whole),
            f"{name}_others_cpus": statistics.median(self.others),
        }


def p99(values: Sequence[float]) -> float:
    """Return what 99 of a hundred values are not above."""
    return sorted(values)[int(0.99 * (len(values) - 1) + 0.5)]


def flood(screen: Desktop, watch: Watch, kind: str, taken: Taken) -> None:
    """Run one flood, from the window's start to its end."""
    home = new_home(screen)
    with running("plain", replies=[payload(PROGRAM.format(KINDS[kind]))]) as server:
        command = (*WATCHED, str(home / "inside.json"))
        app = screen.start(command=command, env={"LMSTUDIO_BASE_URL": server})
        began, ended = _run(app, watch, taken)
        app.close()
        assert app.wait_end() == 0
        assert app.errors() == "", app.errors()
    gone(screen)
    taken.whole.append(sha256_of(printed(app)) == sha256_of(expected(kind)))
    _look_inside(home / "inside.json", began, ended, taken)


def _run(app: App, watch: Watch, taken: Taken) -> tuple[float, float]:
    """Get the program going, and through the flood; return when that began and ended."""
    app.wait_title("ready")
    app.key("ctrl+b")
    agree(app)
    app.wait_title("running")
    app.wait_until(lambda: list(printed(app)), "the runtime's first line")
    window = watch.follow(app.main().number)
    time.sleep(SETTLING_SECONDS)
    before = _memory(app, "VmRSS")
    Path(f"/proc/{app.process.pid}/clear_refs").write_text("5")  # the highest mark begins anew
    watch.press("x")
    others, began = Others(), watch.press("Return")
    end = began + MOST_SECONDS
    while not watch.titled(window, "ended|crashed", KEY_SECONDS):
        watch.press("x")
        assert time.perf_counter() < end, "the flood did not end"
    ended = time.perf_counter()
    taken.others.append(others.processors())
    time.sleep(SETTLING_SECONDS)
    taken.memory.append(_memory(app, "VmHWM") - before)
    return began, ended


def _memory(app: App, name: str) -> float:
    """Return a figure of the program's memory in MB."""
    status = Path(f"/proc/{app.process.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(name))
    return int(line.split()[1]) / 1024


def _look_inside(file: Path, began: float, ended: float, taken: Taken) -> None:
    """Add what was taken down inside between the flood's begin and its last row."""
    inside = json.loads(file.read_text())
    end = max(ended, inside["last_insert"])
    taken.total.append(end - began)
    taken.beats += [late for when, late in inside["beats"] if began <= when <= end]
    taken.keys += [late for when, late in inside["keys"] if began <= when <= end]


def printed(app: App) -> Iterator[bytes]:
    """Yield what the transcript has of the runtime's output, joined by the contract's rules."""
    for shown in app.transcripts():
        if shown["pane"] == "rt":
            yield (shown["text"] + "\n" * (not shown.get("partial"))).encode()


def expected(kind: str) -> Iterator[bytes]:
    """Yield what the runtime prints, with U+FFFD for what is no UTF-8."""
    pieces: Iterator[bytes] = eval(KINDS[kind])  # our own, as the runtime has it
    return (piece.decode(errors="replace").encode() for piece in chain([b"ready\n"], pieces))


def sha256_of(pieces: Iterator[bytes]) -> str:
    """Return the digest of all together."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


def naive(screen: Desktop) -> dict[str, float]:
    """Return what the other side takes for its lines."""
    lines = KINDS["plain"].replace("200_000", str(NAIVE_LINES))
    child = f"import sys\nfor piece in {lines}:\n    sys.stdout.buffer.write(piece)\n"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.naive", sys.executable, "-c", child],
        env=screen.environment(),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return dict(json.loads(done.stdout))


def rounds(count: int) -> tuple[dict[str, Taken], list[dict[str, float]]]:
    """Return what all kinds gave, and the other side."""
    found, others = {kind: Taken() for kind in KINDS}, []
    with desktop() as screen, closing(Watch(screen.display)) as watch:
        for _ in range(count):
            for kind, taken in found.items():
                flood(screen, watch, kind, taken)
            others.append(naive(screen))
    return found, others


def main() -> dict[str, Any]:
    """Run the benchmark."""
    found, others = rounds(ROUNDS)
    figures = {
        name: value for kind, taken in found.items() for name, value in taken.figures(kind).items()
    }
    total, stall = (statistics.median(each[key] for each in others) for key in others[0])
    plain = found["plain"]
    rate = 200_000 / statistics.median(plain.total)
    return figures | {
        "stall_p99_at_most": 16.0,
        "key_p99_at_most": 8.0,
        "memory_at_most": 32.0,
        "lines_a_second": rate,
        "naive_lines_a_second": NAIVE_LINES / total,
        "naive_stall_max_ms": stall * 1e3,
        "rate_ratio": rate * total / NAIVE_LINES,
        "stall_max_ratio": max(plain.beats) / stall,
    }
