from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.paths import collision_key, collisions, problem_with


@pytest.mark.parametrize(
    "path",
    [
        "a.py", "src/a/b.py", "a b.txt", "é.txt", "日本/語.py", ".hidden", "a..b", "-x.py",
        "con_.txt", "x" * 100, "/".join("d" * 17), "emoji😀.txt", "it's.txt",
        "communion.txt", "com10",
    ],
)  # fmt: skip
def test_an_ordinary_path_has_no_problem(path: str) -> None:
    assert problem_with(path) is None


@pytest.mark.parametrize(
    "path",
    [
        "", "/etc/x", "../x", "a/../../x", "a/..", "./a", "a//b", "a/", "C:\\x", "C:x",
        "c:/x",
        "\\\\host\\share\\x", "//host/x", "\\\\?\\C:\\x", "CON", "nul.txt", "COM1.py", "LPT¹",
        "aux/x", "a/PRN .txt", "main.py:stream", "a.", "a ", "a./b", "a\0b", "a\nb", "a\x7fb",
        "e\u0301.txt", "\uff0e\uff0e/etc", "a\uff0fb", "\uff0fetc", "a\u202eb", "a\u200bb",
        "a\u2028b", "\ufeffa", "x" * 101, "y/" * 201 + "y", "/".join("d" * 18), "a\ud800b",
        "conin$", "COM\u00b2", "a\u00adb", "\uff43on",
    ],
)  # fmt: skip
@pytest.mark.case(1, 2, 3, 4, 5, 6, 7, 8, 9, 11)
def test_a_path_that_could_mean_something_else_is_refused(path: str) -> None:
    assert problem_with(path) is not None


@given(st.text(max_size=60))
def test_a_path_without_a_problem_keeps_every_promise(path: str) -> None:
    if problem_with(path) is None:
        parts = path.split("/")
        assert not {"", ".", ".."} & set(parts)
        assert unicodedata.normalize("NFC", path) == path
        assert not any(unicodedata.category(c) in ("Cc", "Cf", "Cs") for c in path)
        assert not set("\\:") & set(unicodedata.normalize("NFKC", path))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Main.py", "main.py"), ("straße", "STRASSE"), ("\u212a.py", "k.py"), ("ﬁ.py", "fi.py"),
        ("a", "a/b"), ("a/b", "a"), ("A/b", "a"), ("a/B", "A/b"), ("x\ufe0f", "x"),
    ],
)  # fmt: skip
@pytest.mark.case(10, 12)
def test_two_paths_that_some_file_system_takes_for_one_collide(first: str, second: str) -> None:
    assert [index for index, _ in collisions([first, second])] == [1]


def test_files_side_by_side_and_in_shared_folders_do_not_collide() -> None:
    assert collisions(["a", "b", "c/a", "c/b", "d/c/a"]) == []


@given(st.text(max_size=20))
def test_a_collision_key_is_its_own_key(path: str) -> None:
    assert collision_key(collision_key(path)) == collision_key(path)
