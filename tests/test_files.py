from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmboot.files import write_whole


def test_a_file_is_written_for_its_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "a.json"

    write_whole(file, "new \N{GREEK SMALL LETTER ALPHA}")

    assert file.read_bytes() == b"new \xce\xb1"
    assert os.name != "posix" or file.stat().st_mode & 0o777 == 0o600


def test_a_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_whole(file, "new \udcff")

    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]
