"""What is granted for always: a private file, believed as a whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.errors import FileUnreadable
from lmboot.runtime.lasting import MAX_BYTES, MAX_ROWS, Lasting, Row, rows

SHA = "ab" * 32
READ = Row("read", "notes", "/home/person/notes")
HOST = Row("fetch", "oak.example")


def text(*grants: dict[str, Any], payload: str = SHA, **more: Any) -> str:
    return json.dumps({"payload": payload, "grants": [*grants], **more})


def row(kind: str, name: str, path: str = "") -> dict[str, Any]:
    return {"kind": kind, "name": name, "path": path}


def test_what_is_kept_is_private_and_read_back(tmp_path: Path) -> None:
    lasting = Lasting(tmp_path / "grants", SHA)
    assert lasting.read() == []
    lasting.add(READ)
    lasting.add(HOST)
    lasting.add(HOST)

    assert lasting.read() == [HOST, READ]
    assert lasting.file.stat().st_mode & 0o777 == 0o600
    assert lasting.file.parent.stat().st_mode & 0o777 == 0o700
    lasting.remove(READ)
    lasting.remove(READ)
    assert Lasting(tmp_path / "grants", SHA).read() == [HOST]
    assert Lasting(tmp_path / "grants", "cd" * 32).read() == []


@pytest.mark.parametrize(
    "wrong",
    [
        "", "[]", "null", "{}", "{", text() + "x", text() + text(), "\u00ef\u00bb\u00bf" + text(),
        text(payload="cd" * 32), text(more=1),
        json.dumps({"payload": SHA, "grants": {}}),
        json.dumps({"payload": SHA, "grants": [[]]}),
        f'{{"payload": "{SHA}", "grants": [], "grants": []}}',
        text({**row("fetch", "a"), "more": ""}),
        text({"kind": "fetch", "name": "a"}),
        text({"kind": "fetch", "name": 1, "path": ""}),
        text(row("everything", "a")),
        text(row("fetch", "a b")),
        text(row("fetch", "a", "/home")),
        text(row("env", "A=B")),
        text(row("spawn", "sort")),
        text(row("spawn", "/usr/bin/../bin/sort")),
        text(row("query_model", "other")),
        text(row("read", "notes")),
        text(row("read", "notes", "notes")),
        text(row("read", "notes", "/home/../etc")),
        text(row("read", "notes", "/a\0b")),
        text(row("write", "a/b", "/home")),
        text(row("write", "..", "/home")),
        text(*[row("fetch", "a")] * (MAX_ROWS + 1)),
        text(row("fetch", "oak.example"), row("fetch", "a b")),
    ],
)  # fmt: skip
def test_one_thing_wrong_and_nothing_holds(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        rows(wrong, SHA)


@given(st.text(max_size=200))
def test_nothing_but_a_refusal_comes_of_any_text(wild: str) -> None:
    try:
        rows(wild, SHA)
    except ValueError:
        return


def _link(file: Path) -> None:
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def _twin(file: Path) -> None:
    os.link(file, file.with_name("twin"))


def _pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file, 0o600)


def _giant(file: Path) -> None:
    file.write_text(" " * MAX_BYTES + text())


def _bytes(file: Path) -> None:
    file.write_bytes(b"\xff")


@pytest.mark.parametrize(
    "spoil",
    [_link, _twin, _pipe, _giant, _bytes, lambda f: f.chmod(0o644), lambda f: f.chmod(0o620)],
)
def test_a_file_that_is_not_what_was_written_is_not_believed(
    tmp_path: Path, spoil: Callable[[Path], None]
) -> None:
    lasting = Lasting(tmp_path, SHA)
    lasting.add(HOST)
    spoil(lasting.file)

    with pytest.raises(FileUnreadable) as refused:
        lasting.read()
    assert str(lasting.file) in refused.value.hint
    with pytest.raises(FileUnreadable):
        lasting.add(READ)


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "grants").write_text("a file where the folder belongs")

    with pytest.raises(FileUnreadable):
        Lasting(tmp_path / "grants", SHA).add(HOST)
