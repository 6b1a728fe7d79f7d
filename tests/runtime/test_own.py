"""lmboot's own files: no folder that holds them, lies in them or leads to them is granted."""

from __future__ import annotations

import json
from pathlib import Path

import pydantic
import pytest

import lmboot
from lmboot.app.places import places
from lmboot.errors import UsageFault
from lmboot.runtime import own
from lmboot.runtime.confined import Folder
from lmboot.runtime.own import reached_from


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folders that no dot hides, as they are on macOS."""
    for name in ("config", "data", "state", "cache"):
        monkeypatch.setenv(f"XDG_{name.upper()}_HOME", str(tmp_path / "Library" / name))
    places().audit.mkdir(parents=True)
    (tmp_path / "notes").mkdir()
    return tmp_path


@pytest.mark.case(130)
@pytest.mark.parametrize("writable", [False, True], ids=["read", "write"])
@pytest.mark.parametrize(
    "path",
    [".", "Library", "Library/state", "Library/state/lmboot", "Library/state/lmboot/audit"],
)
def test_case_130_a_folder_with_lmboot_s_own_files_is_not_granted(
    home: Path, path: str, writable: bool
) -> None:
    with pytest.raises(UsageFault, match="lmboot's own files are there") as caught:
        Folder.open(home / path, writable)

    assert "without them" in caught.value.hint


@pytest.mark.parametrize("path", ["notes", "Library/fonts"])
def test_one_beside_them_is(home: Path, path: str) -> None:
    (home / path).mkdir(exist_ok=True)

    Folder.open(home / path, writable=True).close()


def test_what_is_not_there_yet_counts_too(home: Path) -> None:
    """The folder for data is made with the first payload that is kept."""
    (home / "Library" / "data").mkdir()

    with pytest.raises(UsageFault, match="lmboot's own files"):
        Folder.open(home / "Library" / "data")


def test_what_a_dot_hides_is_out_of_reach_but_not_from_within(tmp_path: Path) -> None:
    place = tmp_path / "home" / ".config" / "lmboot"
    place.mkdir(parents=True)

    assert reached_from(tmp_path / "home", [place]) is None
    assert reached_from(tmp_path / "home" / ".config", [place]) == place
    assert reached_from(place, [place]) == place


def test_settings_that_are_a_link_are_guarded_where_they_lie(home: Path) -> None:
    """As those have them who keep such files in one folder of theirs."""
    (home / "dotfiles").mkdir()
    (home / "dotfiles" / "lmboot.toml").write_text("")
    places().settings.parent.mkdir(parents=True)
    places().settings.symlink_to(home / "dotfiles" / "lmboot.toml")

    with pytest.raises(UsageFault, match="lmboot's own files"):
        Folder.open(home / "dotfiles", writable=True)


def test_what_the_program_imports_is_not_written() -> None:
    """Without an environment of its own, too, as in a Python that lies among the user's files."""
    for module in (json, pydantic):
        folder = Path(module.__file__ or "").parent

        with pytest.raises(UsageFault, match="lmboot's own files"):
            Folder.open(folder, writable=True)


def test_a_folder_is_known_by_another_name(tmp_path: Path) -> None:
    place = tmp_path / "real" / "lmboot"
    place.mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert reached_from(tmp_path / "real", [tmp_path / "link" / "lmboot"]) is not None
    assert reached_from(tmp_path / "elsewhere", [place]) is None


def test_the_program_may_be_read_and_not_written() -> None:
    folder = Path(lmboot.__file__).parent

    Folder.open(folder).close()
    with pytest.raises(UsageFault, match="lmboot's own files"):
        Folder.open(folder, writable=True)


def test_every_place_of_the_user_is_among_them() -> None:
    """Whatever is kept is kept below one of them."""
    kept = places()

    for path in (kept.settings, kept.payloads, kept.transcripts, kept.audit, kept.grants):
        assert any(path.is_relative_to(place) for place in own.things()), path
