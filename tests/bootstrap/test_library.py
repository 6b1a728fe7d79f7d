from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.library import Library, row_of
from lmboot.bootstrap.payload import Payload
from lmboot.errors import FileUnreadable, UsageFault
from tests.fakes import GOOD


def payload(content: str = "print(1)\n") -> Payload:
    text = json.dumps({**GOOD, "files": [{"path": "a.py", "content": content}]})
    found = judge(text).payload
    assert found is not None
    return found


@pytest.fixture
def library(tmp_path: Path) -> Library:
    return Library(tmp_path / "data" / "payloads")


def kept_file(library: Library) -> Path:
    (file,) = library.folder.glob("*.json")
    return file


def test_nothing_is_made_before_something_is_kept(library: Library) -> None:
    assert list(library.all()) == []
    assert not library.agreed(payload())
    assert not library.folder.exists()


def test_a_kept_payload_comes_back_as_it_was(library: Library) -> None:
    library.keep(payload(), "tiny", agreed=False)

    kept = library.find(payload().sha256)
    assert (kept.payload, kept.model, kept.agreed) == (payload(), "tiny", False)


def test_what_is_kept_is_for_the_user_alone(library: Library) -> None:
    library.keep(payload(), "tiny", agreed=False)

    modes = [path.stat().st_mode & 0o777 for path in (library.folder, kept_file(library))]
    assert modes == [0o700, 0o600]


def test_an_agreement_stays_when_the_payload_comes_again(library: Library) -> None:
    library.keep(payload(), "tiny", agreed=True)

    library.keep(payload(), "other", agreed=False)

    assert library.agreed(payload())


def test_an_agreement_is_for_these_bytes_only(library: Library) -> None:
    library.keep(payload(), "tiny", agreed=True)

    assert not library.agreed(payload("print(2)\n"))


def changed(record: dict[str, Any]) -> dict[str, Any]:
    files = [{"path": "a.py", "content": "import os; os.system('evil')"}]
    return {**record, "payload": {**record["payload"], "files": files}}


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: json.dumps(changed(record)),
        lambda record: json.dumps(record)[:-10],
        lambda record: "",
        lambda record: "[]",
        lambda record: "null",
        lambda record: "[" * 100_000,
        lambda record: json.dumps({**record, "payload": []}),
        lambda record: json.dumps({**record, "payload": None}),
        lambda record: json.dumps({**record, "time": "now"}),
        lambda record: json.dumps({"payload": record["payload"]}),
        lambda record: "\udcff",
    ],
)
def test_a_file_that_was_changed_counts_as_damaged_and_never_as_agreed_to(
    library: Library, damage: Any
) -> None:
    library.keep(payload(), "tiny", agreed=True)
    file = kept_file(library)
    record = json.loads(file.read_text())
    file.write_bytes(damage(record).encode(errors="surrogateescape"))

    rows = list(library.all())

    assert rows == [(payload().sha256, None)]
    assert not library.agreed(payload())
    with pytest.raises(FileUnreadable):
        library.find(payload().sha256[:8])


def test_only_the_very_word_true_is_an_agreement(library: Library) -> None:
    library.keep(payload(), "tiny", agreed=False)
    file = kept_file(library)
    file.write_text(json.dumps({**json.loads(file.read_text()), "agreed": "yes"}))

    assert not library.agreed(payload())


def test_a_damaged_payload_can_be_removed_and_kept_anew(library: Library) -> None:
    library.keep(payload(), "tiny", agreed=True)
    kept_file(library).write_text("{")

    assert library.remove(payload().sha256[:6]) == payload().sha256

    library.keep(payload(), "tiny", agreed=False)
    assert not library.agreed(payload())


def test_payloads_are_listed_the_newest_first(library: Library) -> None:
    for number in range(3):
        each = payload(f"print({number})\n")
        library.keep(each, "tiny", agreed=False)
        os.utime(library.folder / f"{each.sha256}.json", (number, number))

    listed = [kept.payload.files[0][1] for _, kept in library.all() if kept]

    assert listed == ["print(2)\n", "print(1)\n", "print(0)\n"]


def test_a_row_tells_what_there_is_or_that_it_is_damaged(library: Library) -> None:
    library.keep(payload(), "tiny", agreed=True)
    ((name, kept),) = library.all()

    row = row_of(name, kept)

    assert (row["sha256"], row["name"], row["model"]) == (name, "shell", "tiny")
    assert (row["agreed"], row["files"], row["damaged"]) == (True, 1, False)
    assert row_of("0" * 64, None) == {"sha256": "0" * 64, "damaged": True}


@pytest.mark.parametrize("cut", [4, 12, 63, 64])
def test_four_digits_of_a_hash_name_a_payload(library: Library, cut: int) -> None:
    library.keep(payload(), "tiny", agreed=False)

    assert library.find(payload().sha256[:cut].upper() + "…" * (cut == 12)).model == "tiny"


@pytest.mark.parametrize("prefix", ["", "…", "a", "abc", "zzzz", "../../passwd", "*", "0" * 65])
def test_less_or_anything_else_names_nothing(library: Library, prefix: str) -> None:
    library.keep(payload(), "tiny", agreed=False)

    for use in (library.find, library.remove):
        with pytest.raises(UsageFault) as fault:
            use(prefix)
        assert "payloads list" in fault.value.hint
    assert kept_file(library).exists()


def test_a_prefix_that_fits_two_names_none(library: Library) -> None:
    library.folder.mkdir(parents=True)
    for last in "ab":
        (library.folder / f"{'0' * 63}{last}.json").write_text("{}")

    with pytest.raises(UsageFault, match="2 kept payloads"):
        library.find("0000")


# ---------------------------------------------------------------- whole or not at all

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from lmboot.bootstrap.judge import judge
from lmboot.bootstrap.library import Library
from lmboot.errors import FileUnreadable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64))  # every file ends after 64 bytes
payload = judge(sys.argv[2]).payload
try:
    Library(Path(sys.argv[1])).keep(payload, "tiny", agreed=True)
except FileUnreadable as error:
    print(error)
"""


@pytest.mark.parametrize("before", [False, True])
def test_on_a_full_disk_a_payload_is_kept_as_it_was_or_not_at_all(
    library: Library, before: bool
) -> None:
    if before:
        library.keep(payload(), "tiny", agreed=False)
    command = [sys.executable, "-c", FULL_DISK, str(library.folder), json.dumps(GOOD)]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    assert "could not be kept" in done.stdout
    assert [kept.agreed for _, kept in library.all() if kept] == [False] * before
    assert len(list(library.folder.iterdir())) == before


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(FileUnreadable, match="could not be kept"):
        Library(tmp_path / "file" / "payloads").keep(payload(), "tiny", agreed=False)
