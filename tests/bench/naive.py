"""The common recipe for a program's output in Tk: `python -m tests.bench.naive LINES`.

A thread reads lines into a queue; every 50 ms a callback takes all that is there, line by line,
until the queue is empty. It is the other side of the flood: what it takes is printed as JSON.
"""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import tkinter as tk
from time import monotonic

from tests.bench.inside import BEAT_MS

POLL_MS = 50


class Naive:
    """A Text and what fills it."""

    def __init__(self, command: list[str]) -> None:
        self.root = tk.Tk()
        self._text = tk.Text(self.root)
        self._text.pack(fill="both", expand=True)
        self._queue: queue.Queue[str | None] = queue.Queue()
        self._command = command
        self._late: list[float] = []
        self._began = self._due = monotonic()

    def _read(self) -> None:
        with subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout or ():
                self._queue.put(line)
        self._queue.put(None)

    def _poll(self) -> None:
        while not self._queue.empty():
            line = self._queue.get()
            if line is None:
                self.root.after(100, self.root.quit)  # the last stall is still to be counted
                return
            self._text.insert("end", line)
            self._text.see("end")
        self.root.after(POLL_MS, self._poll)

    def _beat(self) -> None:
        now = monotonic()
        self._late.append(now - self._due)
        self._due = now + BEAT_MS / 1000
        self.root.after(BEAT_MS, self._beat)

    def run(self) -> dict[str, float]:
        """Show it all; return the seconds of all, and of the longest stall."""
        threading.Thread(target=self._read).start()
        self._beat()
        self._poll()
        self.root.mainloop()
        return {"total_s": self._due - self._began, "stall_max_s": max(self._late)}


if __name__ == "__main__":
    print(json.dumps(Naive(sys.argv[1:]).run()))
