"""What the window remembers: a file that may be damaged in any way, and places off the screen."""

from __future__ import annotations

import json
import tkinter as tk
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmboot.gui.memory import MOST_ADDRESSES, MOST_BYTES, Memory, dump, fitting, load, with_address

TEXTS = st.text(st.characters(codec="utf-8"), max_size=200).filter(
    lambda text: text.replace("\n", "").isprintable()
)
MEMORIES = st.builds(
    Memory,
    geometry=TEXTS,
    folder=TEXTS,
    model=TEXTS,
    addresses=st.lists(TEXTS, max_size=MOST_ADDRESSES).map(tuple),
    seen=st.booleans(),
    container=st.booleans(),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)
KEYS = st.sampled_from([*Memory._fields, "new"])
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "window.json"


def is_sound(memory: Memory) -> bool:
    """Say whether every part is what the window takes it for."""
    texts = (memory.geometry, memory.folder, memory.model, *memory.addresses)
    sound = all(isinstance(each, str) and "\0" not in each for each in texts)
    return sound and isinstance(memory.seen, bool) and len(memory.addresses) <= MOST_ADDRESSES


@same_folder
@given(memory=MEMORIES)
def test_what_is_remembered_comes_back(file: Path, memory: Memory) -> None:
    file.write_text(dump(memory))

    assert load(str(file)) == memory


def test_without_a_file_nothing_is_remembered(file: Path) -> None:
    assert load(str(file)) == Memory()
    assert load(str(file.parent)) == Memory()


@same_folder
@given(data=st.binary(max_size=200))
def test_bytes_of_any_kind_remember_nothing_and_raise_nothing(file: Path, data: bytes) -> None:
    file.write_bytes(data)

    assert load(str(file)) == Memory()


@same_folder
@given(value=JSON | st.dictionaries(KEYS, JSON))
def test_json_of_any_kind_gives_a_memory_that_can_be_used(file: Path, value: Any) -> None:
    file.write_text(json.dumps(value))

    assert is_sound(load(str(file)))


@same_folder
@given(memory=MEMORIES, place=st.floats(0, 1), byte=st.binary(max_size=3))
def test_a_file_with_a_damaged_place_gives_a_memory_that_can_be_used(
    file: Path, memory: Memory, place: float, byte: bytes
) -> None:
    data = dump(memory).encode()
    at = int(place * len(data))
    file.write_bytes(data[:at] + byte + data[at + 1 :])

    assert is_sound(load(str(file)))


@pytest.mark.parametrize(
    "text",
    ["[" * 100_000, '{"seen": true, "x": "' + "x" * MOST_BYTES + '"}', "\ufeff{}", "{}{}", "nul"],
)
def test_what_is_too_deep_or_too_long_remembers_nothing(file: Path, text: str) -> None:
    file.write_text(text)

    assert load(str(file)) == Memory()


@pytest.mark.parametrize("bad", [7, None, [], "a\0b", "\ud800", "\x1b[31m", "\u202e", "x" * 5000])
@pytest.mark.parametrize("name", ["geometry", "folder", "model"])
def test_what_is_damaged_is_forgotten_and_nothing_else(file: Path, name: str, bad: object) -> None:
    memory = Memory("1040x700+0+0", "/home/me", "tiny\nhttp://x", ("http://x",), True)
    file.write_text(json.dumps({**memory._asdict(), name: bad}))

    assert load(str(file))._asdict() == {**memory._asdict(), name: ""}


def test_of_addresses_those_that_are_texts_are_kept(file: Path) -> None:
    file.write_text(json.dumps({"addresses": ["a", 1, "b\0", None, "c"], "seen": 1}))

    assert load(str(file)) == Memory(addresses=("a", "c"), seen=False)


def test_an_address_comes_to_the_front_and_the_oldest_fall_out() -> None:
    memory = Memory()
    for number in range(12):
        memory = with_address(memory, f"http://{number}")

    memory = with_address(memory, "http://7")

    assert memory.addresses[:3] == ("http://7", "http://11", "http://10")
    assert len(memory.addresses) == len(set(memory.addresses)) == MOST_ADDRESSES


# ---------------------------------------------------------------- the place on the screen


@pytest.mark.parametrize(
    ("geometry", "fits"),
    [
        ("1040x700+0+0", True),
        ("1920x1080+0+0", True),
        ("800x600+1819+979", True),
        ("800x600+1820+0", False),
        ("800x600+0+980", False),
        ("1921x600+0+0", False),
        ("800x1081+0+0", False),
        ("800x600+-5+10", False),
        ("800x600-5-5", False),
        ("0x0+0+0", False),
        ("-800x-600+0+0", False),
        ("800x600", False),
        ("800x600+1", False),
        ("800x600+1+2+3", False),
        ("", False),
        ("x+y", False),
        ("9" * 5000 + "x1+0+0", False),
    ],
)
def test_a_place_is_taken_where_the_screen_has_it(geometry: str, fits: bool) -> None:
    assert fitting(geometry, 1920, 1080) == (geometry if fits else "")


ODD = st.text(st.sampled_from("0123456789x+-_ \t\n१²,.e"), max_size=24)
NUMBERS = st.integers(-100, 3000)
PLACES = ODD | st.builds("{}x{}+{}+{}".format, NUMBERS, NUMBERS, NUMBERS, NUMBERS)


@same_folder
@given(geometry=PLACES | st.just(" 8_0x६0+ 1+1_0"))
def test_whatever_fits_tk_takes(root: tk.Tk, geometry: str) -> None:
    found = fitting(geometry, 1920, 1080)

    if found:
        root.geometry(found)
