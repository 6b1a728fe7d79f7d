from __future__ import annotations

from dataclasses import replace

import pytest

from lmboot.connections.interface import Model
from lmboot.gui.modelrows import (
    model_row,
    size_words,
)

QWEN = Model(
    "qwen2.5-7b", "Qwen 7B", "http://127.0.0.1:1234", "lmstudio", "loaded", 32768, "Q4_K_M",
    "qwen2", 4_683_073_536,
)  # fmt: skip
PHI = Model("phi-3", "phi-3", "http://127.0.0.1:11434", "ollama", "available")
SEED = Model("seed", "seed model", "", "seed", "available", 4096, "F16", "llama", 3_400_000)
ROWS = [model_row(model) for model in (QWEN, PHI, SEED)]


def test_a_row_says_what_is_known_and_a_dash_for_the_rest() -> None:
    assert [row.cells[1:] for row in ROWS] == [
        ("Qwen 7B", "● loaded", "Q4_K_M", "4.7 GB", "32,768"),
        ("phi-3", "○ available", "—", "—", "—"),
        ("seed model", "○ available", "F16", "3.4 MB", "4,096"),
    ]
    assert ROWS[2].server == "lmboot itself"
    assert model_row(replace(PHI, state="unknown")).state == "? unknown"


def test_a_stranger_s_name_is_one_short_line() -> None:
    row = model_row(replace(PHI, name="a\nb\x1b[31m\u202e" + "c" * 999))

    assert row.name.startswith("a bccc")
    assert len(row.name) == 60
    assert model_row(replace(PHI, name="\u202e")).name == "—"


def test_one_model_on_two_servers_is_two_rows() -> None:
    assert model_row(PHI).id != model_row(replace(PHI, server="http://10.0.0.2:11434")).id


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (None, "—"),
        (0, "0 B"),
        (999, "999 B"),
        (1500, "1.5 kB"),
        (3_400_000, "3.4 MB"),
        (15 * 10**9, "15.0 GB"),
    ],
)
def test_sizes_are_in_words_of_people(size: int | None, words: str) -> None:
    assert size_words(size) == words
