"""The audit log, from one thread: an operation's intent and outcome, against bare JSON lines.

Bare is the same two records by `json.dumps` and one write each: no chain, no digest, nothing left
out of the arguments. `verify_records_a_second` is what the log that came out takes to be judged.
"""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

from lmboot.keychain import SystemKeychain
from lmboot.runtime.audit import AuditLog
from lmboot.runtime.vault import Vault
from tests.bench.measure import medians, timed

ROUNDS = 7
OPERATIONS = 2500
ARGUMENTS: dict[str, Any] = {
    "path": "notes/2026/a-list-of-things.txt",
    "offset": 0,
    "headers": {"Authorization": "Bearer abcdefghijklmnop", "Accept": "text/plain"},
    "text": "The quick brown fox. " * 10,
}


class NoKeychain(SystemKeychain):
    """No keyring: the machine's own is neither asked nor written to."""

    def recall(self, name: str) -> str | None:
        """Return nothing."""
        return None

    def keep(self, name: str, secret: str) -> bool:
        """Keep nothing."""
        return False

    def forget(self, name: str) -> None:
        """Do nothing."""


async def _logged(log: AuditLog) -> float:
    return timed(lambda: _operations(log))


def _operations(log: AuditLog) -> None:
    for _ in range(OPERATIONS):
        intent = log.intent("fs.write_text", "HOST", 3, ARGUMENTS)
        log.outcome(intent, "allow", "granted", 210, 0.4)


async def _bare(descriptor: int) -> float:
    return timed(lambda: _bare_operations(descriptor))


def _bare_operations(descriptor: int) -> None:
    about = {"op": "fs.write_text", "route": "HOST", "version": 3}
    outcome = {**about, "decision": "allow", "reason": "granted", "bytes": 210, "ms": 0.4}
    for _ in range(OPERATIONS):
        for record in ({**about, "args": ARGUMENTS}, outcome):
            os.write(descriptor, json.dumps(record).encode() + b"\n")


def _judged(vault: Vault, log: Path) -> float:
    """Return how many records a second are verified."""
    began = perf_counter()
    verdict = vault.verify(log)
    if not (verdict.whole and verdict.closed):
        raise AssertionError(verdict)
    return verdict.records / (perf_counter() - began)


async def figures(folder: Path) -> dict[str, float]:
    """Return records a second, and the ratio to bare lines."""
    vault = Vault(folder / "audit", NoKeychain())
    descriptor = os.open(folder / "bare", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with AuditLog(vault, "bench", posture={}, payload=None) as log:
        ours, bare = await medians(ROUNDS, lambda: _logged(log), lambda: _bare(descriptor))
    os.close(descriptor)
    return {
        "records_a_second": 2 * OPERATIONS / ours,
        "bare_records_a_second": 2 * OPERATIONS / bare,
        "ratio": ours / bare,
        "verify_records_a_second": _judged(vault, log.path),
        "at_least_records_a_second": 5000.0,
    }


def main() -> dict[str, float]:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(figures(Path(folder)))
