from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import platformdirs
import pytest

from lmboot.app.places import places
from lmboot.gui.early import Early, early, own_folder
from lmboot.settings import load


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_without_a_file_the_defaults_hold(file: Path) -> None:
    assert early(file) == Early("system", None, 1.0)


def test_what_the_file_says_is_taken_and_the_rest_passed_over(file: Path) -> None:
    file.write_text('warm = 3\n[window]\ntheme = "dark"\nscale = 2\nserver = "x"\nnew = 1\n')

    assert early(str(file)) == Early("dark", 2.0, 1.0)


WINDOWS = (
    *("", "warm = true", "window = {}", "window.theme = 'light'", "[window]\nzoom = 2"),
    *(
        f"[window]\ntheme = {each}"
        for each in ("'system'", "'blue'", "''", "1", "true", "['dark']")
    ),
    *(
        f"[window]\n{key} = {value}"
        for key in ("scale", "zoom")
        for value in ("0.79", "0.8", "1", "2.5", "2.51", "3", "3.1", "nan", "inf", "-1", "true")
    ),
    *("[window]\nscale = '1'", "[window]\nzoom = [1]", "[window]\nzoom = 1979-05-27"),
    *("window = 1", "window = 'dark'", "window = []", "[[window]]\nzoom = 2", "window = ", "\0"),
    *("[window]\ntheme = 'dark'\nscale = 9", "x" * 5000, "x = " + "[" * 100_000),
)


@pytest.mark.parametrize("text", WINDOWS, ids=range(len(WINDOWS)))
def test_it_is_what_the_full_reading_will_say(file: Path, text: str) -> None:
    file.write_text(text)

    found = early(file)

    later = load(file).window
    assert found == Early(later.theme, later.scale, later.zoom)


def test_what_can_not_be_read_is_passed_over(file: Path) -> None:
    (file.parent / "bytes").write_bytes(b"\xff\xfe")

    assert early(file.parent) == Early()
    assert early(file.parent / "bytes") == Early()
    assert early("\0") == Early()


# ---------------------------------------------------------------- the user's own folders

VALUES = [None, "", "/x", "/x y/é", "/x/", " /x", "x", "~/x", "./x", "  "]


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("kind", ["config", "state"])
def test_the_users_folders_are_where_everything_else_finds_them(
    monkeypatch: pytest.MonkeyPatch, kind: str, value: str | None
) -> None:
    variable = f"XDG_{kind.upper()}_HOME"
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)

    found = own_folder(kind)

    ours = {"config": platformdirs.user_config_dir, "state": platformdirs.user_state_dir}
    assert found == ours[kind]("lmboot", appauthor=False)


@pytest.mark.parametrize("home", [None, "/somewhere", "relative", ""])
def test_they_are_in_the_users_home_whatever_the_environment_says_of_it(
    monkeypatch: pytest.MonkeyPatch, home: str | None
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.delenv("HOME")
    if home is not None:
        monkeypatch.setenv("HOME", home)

    assert own_folder("state") == platformdirs.user_state_dir("lmboot", appauthor=False)


def test_settings_and_memory_are_where_the_jobs_have_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    assert Path(own_folder("config")) == places().settings.parent
    assert Path(own_folder("state")) == places().transcripts.parent


PROGRAM = """
import sys
before = set(sys.modules)
from lmboot.gui.early import early
print(early(sys.argv[1]).theme, *sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("text", [None, "[window]\ntheme = 'dark'\n"])
def test_reading_brings_nothing_along_that_the_window_would_wait_for(
    file: Path, text: str | None
) -> None:
    if text:
        file.write_text(text)
    command = [sys.executable, "-c", PROGRAM, str(file)]

    done = subprocess.run(command, capture_output=True, text=True, check=True)

    theme, *modules = done.stdout.split()
    heavy = (
        "pydantic",
        "dataclasses",
        "inspect",
        "platformdirs",
        "pathlib",
        "tkinter",
        "lmboot.s",
    )
    assert theme == ("dark" if text else "system")
    assert [each for each in modules if each.startswith(heavy)] == []
    assert ("tomllib" in modules) == bool(text)
