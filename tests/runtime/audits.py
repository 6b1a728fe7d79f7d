"""What the tests of the audit log share: a vault in a folder, and logs with something in them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lmboot.runtime.audit import AuditLog, Clocks
from lmboot.runtime.chain import Code, Head, Verdict
from lmboot.runtime.vault import Vault

POSTURE = {"net_ip": "enforced", "disk_total": "partial"}


@dataclass
class MemoryKeychain:
    """A keyring in memory; `works` says whether it takes anything."""

    works: bool = False
    kept: dict[str, str] = field(default_factory=dict)

    def recall(self, name: str) -> str | None:
        return self.kept.get(name) if self.works else None

    def keep(self, name: str, secret: str) -> bool:
        if self.works:
            self.kept[name] = secret
        return self.works

    def forget(self, name: str) -> None:
        self.kept.pop(name, None)


@dataclass
class Hands:
    """Clocks that stand still until they are moved."""

    now: float = 1_800_000_000.0

    @property
    def clocks(self) -> Clocks:
        return Clocks(day=lambda: self.now, mono=lambda: self.now)


@dataclass
class Logs:
    """A vault, and short ways to fill and to judge its logs."""

    vault: Vault
    hands: Hands = field(default_factory=Hands)

    def open(self, run: str = "r1", payload: str | None = "ab" * 32) -> AuditLog:
        clocks = self.hands.clocks
        self.hands.now += 1
        return AuditLog(self.vault, run, posture=POSTURE, payload=payload, clocks=clocks)

    def filled(self, run: str = "r1", operations: int = 3) -> Path:
        """Return a closed log with an intent and an outcome for each operation."""
        with self.open(run) as log:
            fill(log, operations)
        return log.path

    def verdict(self, log: Path) -> Verdict:
        return self.vault.verify(log)

    def problem(self, log: Path) -> tuple[int, Code] | None:
        """Return the first bad record's number and what was done to it."""
        problem = self.verdict(log).problem
        return (problem.seq, problem.code) if problem else None

    def head(self, log: Path) -> Head | None:
        return Head.read(log.with_name(f"{log.name}.head").read_text())


def fill(log: AuditLog, operations: int) -> None:
    for number in range(operations):
        intent = log.intent("fs.read_text", "HOST", 1, {"path": f"notes/{number}.txt"})
        log.outcome(intent, "allow", "granted", 12, 0.5)


def records(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text("ascii").splitlines()]


def lines(log: Path) -> list[bytes]:
    return log.read_bytes().splitlines(keepends=True)
