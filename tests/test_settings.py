from __future__ import annotations

import os
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from lmboot import settings as module
from lmboot import settings_shape as shape
from lmboot.bootstrap.prompts import TRIGGER, TRIGGERS
from lmboot.errors import FileUnreadable, UsageFault
from lmboot.runtime.policy import ALIASES, RULES, Limits, Rule, nothing_by_host
from lmboot.settings import NAMES, Settings, WindowSettings, load, save


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_without_a_file_the_defaults_hold_and_nothing_is_said(file: Path) -> None:
    assert load(file) == Settings()
    assert Settings().complaint is None


def test_an_empty_file_is_the_defaults(file: Path) -> None:
    file.write_text("")

    assert load(file) == Settings()


def test_every_key_is_taken(file: Path) -> None:
    file.write_text(
        'warm = false\ntrigger = "GO"\npassphrase = "please"\ncontext = 4096\n'
        "[limits]\nmemory_mb = 100\nwall_seconds = 7.5\n"
        '[window]\ntheme = "dark"\nscale = 1.25\nzoom = 2\nscrollback = 1000\n'
        'remember_input = false\nserver = "localhost:1234/v1"\n'
    )

    settings = load(file)

    limits = Limits(memory_mb=100, wall_seconds=7.5)
    window = WindowSettings("dark", 1.25, 2.0, 1000, False, "http://localhost:1234")
    assert settings == Settings(False, "GO", "please", 4096, limits, window)


@pytest.mark.parametrize("name", ["python", "docker.io/library/python:3-slim", "x@sha256:00"])
def test_an_image_for_containers_has_a_name(file: Path, name: str) -> None:
    save(file, {"container_image": name})

    assert load(file).container_image == name


@pytest.mark.parametrize("name", ["--privileged", "", "a b", "a;b", "/x", "ü"])
def test_what_podman_could_take_for_something_else_is_no_image(file: Path, name: str) -> None:
    with pytest.raises(UsageFault, match="container_image can't be"):
        save(file, {"container_image": name})


def test_the_example_can_be_loaded(file: Path) -> None:
    """It stands in the module's docstring, below its first line."""
    example = (module.__doc__ or "").partition("\n")[2]
    file.write_text(example)

    table = tomllib.loads(example)
    assert table.pop("routes")  # it is edited by hand
    assert load(file).complaint is None
    assert set(flat(table)) | OTHER_LIMITS == NAMES


OTHER_LIMITS = {f"limits.{key}" for key in Limits.__dataclass_fields__}


def flat(table: dict[str, Any]) -> dict[str, Any]:
    """Return what a file holds by the dotted names of its settings."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        inner = value if isinstance(value, dict) else None
        found |= {f"{key}.{k}": v for k, v in inner.items()} if inner is not None else {key: value}
    return found


def test_what_is_in_force_has_the_names_that_saving_takes(file: Path) -> None:
    settings = Settings(False, "GO", limits=Limits(memory_mb=1), window=WindowSettings("dark"))

    values = settings.by_name()
    save(file, values)

    assert set(values) == NAMES
    assert load(file) == settings


def test_limits_can_only_be_lowered(file: Path) -> None:
    file.write_text("[limits]\nmemory_mb = 9999\ncpu_seconds = 9999\ndisk_mb = 1\n")

    settings = load(file)

    assert settings.limits == Limits(disk_mb=1)
    assert settings.complaint is not None
    assert "memory_mb, cpu_seconds" in settings.complaint


@pytest.mark.parametrize(
    "wrong",
    [
        "warm = ",
        'warm = "yes"',
        "warm = 1",
        "unknown = 1",
        'trigger = ""',
        'trigger = "a\\nb"',
        "context = 1",
        "context = 1.5",
        "[limits]\nmemory_mb = 0",
        "[limits]\nmemory_mb = -1",
        "[limits]\nmemory_mb = nan",
        "[limits]\nmemory_mb = inf",
        "[limits]\nmemory_mb = true",
        '[limits]\nmemory_mb = "1"',
        "[limits]\nmemory = 1",
        "limits = 1",
        "window = 1",
        "[window]\ncolour = 1",
        '[window]\ntheme = "blue"',
        "[window]\nscale = 0.7",
        "[window]\nscale = nan",
        "[window]\nscale = true",
        "[window]\nzoom = 2.6",
        '[window]\nzoom = "2"',
        "[window]\nscrollback = 999",
        "[window]\nscrollback = 50001",
        "[window]\nscrollback = 2000.0",
        "[window]\nremember_input = 1",
        '[window]\nserver = ""',
        '[window]\nserver = "ftp://a"',
        '[window]\nserver = "http://me:secret@a"',
        "x" * 5000,
        "x = " + "[" * 100_000,
        "\x00",
    ],
)
def test_a_file_with_an_error_is_set_aside_and_said_once(file: Path, wrong: str) -> None:
    file.write_text(wrong)

    settings = load(file)

    assert settings.complaint is not None
    assert len(settings.complaint.splitlines()) == 1
    assert (settings.limits, settings.trigger) == (Limits(), None)
    assert file.with_name("settings.toml.bad").read_text() == wrong
    assert load(file) == Settings()


def test_a_file_that_is_no_text_is_set_aside_too(file: Path) -> None:
    file.write_bytes(b"\xff\xfe")

    assert load(file).complaint is not None
    assert not file.exists()


@pytest.mark.parametrize(
    ("wrong", "limits", "routes"),
    [
        ("warm = 1\n[limits]\nmemory_mb = 9\n", Limits(memory_mb=9), {}),
        ('warm = 1\n[routes]\nfs.list = "DENY"\n', Limits(), {"fs.list": "DENY"}),
        ('[limits]\nmemory = 9\n[routes]\nfetch = "HOST"\n', Limits(), {"fetch": "HOST"}),
        (
            '[limits]\nmemory_mb = 9\n[routes]\nfetch = "NO"\n',
            Limits(memory_mb=9),
            nothing_by_host(),
        ),
        ("routes = 1", Limits(), nothing_by_host()),
        ('[routes]\nfetch = "DENY"\nfetch = "DENY"\n', Limits(), nothing_by_host()),
        ("warm = \n[routes]\n", Limits(), nothing_by_host()),
    ],
)
def test_what_bounds_runtimes_outlives_an_error_in_the_file(
    file: Path, wrong: str, limits: Limits, routes: dict[str, Rule]
) -> None:
    file.write_text(wrong)

    first, second = load(file), load(file)

    assert (first.limits, first.routes) == (limits, routes)
    assert second == Settings(limits=limits, routes=routes)
    assert first.complaint is not None
    assert ("nothing for a runtime" in first.complaint) == (routes == nothing_by_host())
    assert file.with_name("settings.toml.bad").read_text() == wrong


@pytest.mark.parametrize(
    ("wrong", "routes"),
    [
        (b'[routes]\nfetch = "DENY"\n# \xff\n', {"fetch": "DENY"}),
        (b'[routes]\nfetch\xff = "DENY"\n', nothing_by_host()),
    ],
)
def test_so_does_a_policy_in_a_file_that_is_no_text(
    file: Path, wrong: bytes, routes: dict[str, Rule]
) -> None:
    file.write_bytes(wrong)

    assert load(file).routes == routes
    assert load(file).routes == routes


def test_what_can_not_be_set_aside_is_judged_again(file: Path) -> None:
    file.write_text('warm = 1\n[routes]\nfetch = "DENY"\n')
    file.with_name("settings.toml.bad").mkdir()

    for _ in range(2):
        settings = load(file)
        assert settings.routes == nothing_by_host()
        assert "left where it is" in (settings.complaint or "")


def test_a_file_that_can_not_be_read_stays_where_it_is_and_lets_nothing_through(
    file: Path,
) -> None:
    file.mkdir()

    settings = load(file)

    assert "defaults" in (settings.complaint or "")
    assert settings.routes == nothing_by_host()
    assert file.is_dir()


def test_the_next_bad_file_takes_the_place_of_the_last(file: Path) -> None:
    for wrong in ("a", "b"):
        file.write_text(wrong)
        load(file)

    assert file.with_name("settings.toml.bad").read_text() == "b"


# ---------------------------------------------------------------- saving

MINE = """\
# how I like it
warm = false    # slow disk
trigger = "GO"  # short

[limits]  # a small machine
memory_mb = 256
# no more than this
disk_mb = 8
"""


def test_saving_keeps_comments_and_other_keys(file: Path) -> None:
    file.write_text(MINE)

    save(file, {"limits.memory_mb": 128, "context": 4096, "window.theme": "dark"})

    expected = MINE.replace("= 256", "= 128").replace("# short\n", "# short\ncontext = 4096\n")
    assert file.read_text() == expected + '\n[window]\ntheme = "dark"\n'


def test_none_takes_a_key_away_and_leaves_no_table_behind(file: Path) -> None:
    file.write_text(MINE)

    save(file, {"trigger": None, "limits.disk_mb": None, "window.scale": None, "context": None})

    kept = MINE.replace('trigger = "GO"  # short\n', "").replace("disk_mb = 8\n", "")
    assert file.read_text() == kept


def test_saving_makes_the_folder_and_a_file_for_the_user_alone(tmp_path: Path) -> None:
    file = tmp_path / "not" / "there" / "settings.toml"

    save(file, {"window.zoom": 1.5})

    assert load(file) == Settings(window=WindowSettings(zoom=1.5))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["settings.toml"]


def test_what_changes_nothing_is_not_written(file: Path) -> None:
    file.write_text(MINE)
    before = file.stat()

    save(file, {"window.theme": None, "warm": False})

    assert file.stat() == before


def test_a_link_stays_a_link(file: Path, tmp_path: Path) -> None:
    mine = tmp_path / "dotfiles" / "lmboot.toml"
    mine.parent.mkdir()
    mine.write_text(MINE)
    file.symlink_to(mine)

    save(file, {"warm": True})

    assert file.is_symlink()
    assert load(mine).warm


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("window.theme", "blue", "'system', 'dark' or 'light'"),
        ("window.scale", 9.5, "less than or equal to 3"),
        ("window.scale", float("nan"), "equal to 3"),
        ("window.scrollback", 1500.5, "integer"),
        ("window.server", "ftp://a", "only http and https"),
        ("window.remember_input", "yes", "boolean"),
        ("trigger", "two\nlines", "match"),
        ("trigger", "\ud800", "unicode"),
        ("context", 1, "greater than or equal to 512"),
        ("limits.memory_mb", -1, "greater than 0"),
        ("limits.memory_mb", 513, "lowered"),
        ("limits.processes", 64.5, "lowered"),
        ("limits.cpu_seconds", [1], "number"),
    ],
)
def test_a_value_that_is_not_allowed_is_refused_and_nothing_written(
    file: Path, name: str, value: object, why: str
) -> None:
    file.write_text(MINE)

    with pytest.raises(UsageFault, match=f"^{name} can't be .*{why}") as refused:
        save(file, {name: value, "warm": True})

    assert refused.value.hint
    assert file.read_text() == MINE


@pytest.mark.parametrize("name", ["window.colour", "colour", "window", "limits", "", "warm.x"])
def test_a_setting_that_there_is_not_is_refused(file: Path, name: str) -> None:
    with pytest.raises(UsageFault, match="no setting"):
        save(file, {name: 1})

    assert not file.exists()


def test_a_limit_that_was_too_high_before_stops_no_other_change(file: Path) -> None:
    file.write_text("[limits]\nmemory_mb = 9999\n")

    save(file, {"limits.disk_mb": 8})

    assert load(file).limits == Limits(disk_mb=8)


@pytest.mark.parametrize("wrong", [b"warm = ", b"warm = 1", b"\xff\xfe", b"x = " + b"[" * 100_000])
def test_a_file_with_an_error_is_left_to_its_owner(file: Path, wrong: bytes) -> None:
    file.write_bytes(wrong)

    with pytest.raises(FileUnreadable, match="has an error"):
        save(file, {"warm": True})

    assert file.read_bytes() == wrong


def test_a_file_that_can_not_be_read_is_said(file: Path) -> None:
    file.mkdir()

    with pytest.raises(FileUnreadable, match="can't be read"):
        save(file, {"warm": True})


def test_a_file_that_can_not_be_written_is_said_and_nothing_is_left(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file.write_text(MINE)
    monkeypatch.setattr(os, "replace", full)

    with pytest.raises(UsageFault, match="No space left on device"):
        save(file, {"warm": True})

    assert file.read_text() == MINE
    assert list(file.parent.iterdir()) == [file]


def test_a_folder_that_can_not_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "lmboot").symlink_to(tmp_path / "lmboot")

    with pytest.raises(UsageFault, match="can't be"):
        save(tmp_path / "lmboot" / "settings.toml", {"warm": True})


FILES = (
    "",
    "# only this",
    MINE,
    MINE.replace("\n", "\r\n"),
    "window.theme = 'dark'\nlimits.memory_mb = 1\nwarm = true # yes",
    "window = {theme = 'dark', zoom = 2} # short\n",
    "[window]\n[limits]\n# none\n",
    "\n\n[window] # first\n# what for\nzoom = 1 # why\n\n# last\n[limits]\ncpu_seconds = 5\n# end",
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "warm": st.booleans(),
    "context": st.integers(512, 1 << 20),
    "trigger": st.text(min_size=1, max_size=20).filter(lambda text: not {*"\n\r"} & {*text}),
    "limits.memory_mb": st.floats(0.5, 512),
    "limits.disk_mb": st.integers(1, 64),
    "window.theme": st.sampled_from(["system", "dark", "light"]),
    "window.scale": st.floats(0.8, 3),
    "window.server": st.just("localhost:1"),
}
CHANGES = st.fixed_dictionaries({}, optional={k: st.none() | v for k, v in VALUES.items()})


@given(st.sampled_from(FILES), st.lists(CHANGES, max_size=3))
def test_whatever_is_changed_one_after_another_is_what_the_file_says(
    tmp_path_factory: pytest.TempPathFactory, text: str, changes: list[dict[str, Any]]
) -> None:
    file = tmp_path_factory.mktemp("any") / "settings.toml"
    file.write_bytes(text.encode())
    expected = flat(tomllib.loads(text))

    for each in changes:
        save(file, each)
        expected = {k: v for k, v in (expected | each).items() if v is not None}

    written = file.read_text()
    assert flat(tomllib.loads(written)) == expected
    assert load(file).complaint is None
    for comment in ("# how I like it", "# a small machine", "# no more than this", "# last"):
        assert (comment in written) == (comment in text)


def test_loading_does_not_pay_for_saving() -> None:
    program = "import lmboot.settings, sys; sys.exit('tomlkit' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


# ---------------------------------------------------------------- triggers


@pytest.mark.parametrize("trigger", TRIGGERS)
def test_a_trigger_is_one_exactly(trigger: str) -> None:
    settings = Settings()

    assert settings.is_trigger(trigger, TRIGGERS)
    assert not any(
        settings.is_trigger(text, TRIGGERS)
        for text in (f"{trigger}.", f"please {trigger}", trigger.lower(), "")
    )


def test_the_users_own_trigger_stands_beside_the_built_in_ones() -> None:
    settings = Settings(trigger="GO")

    assert settings.is_trigger("GO", TRIGGERS)
    assert settings.is_trigger(TRIGGER, TRIGGERS)


def test_with_a_passphrase_a_trigger_alone_starts_nothing() -> None:
    settings = Settings(trigger="GO", passphrase="open sesame")

    assert settings.is_trigger(f"{TRIGGER} open sesame", TRIGGERS)
    assert settings.is_trigger("GO open sesame", TRIGGERS)
    assert not settings.is_trigger(TRIGGER, TRIGGERS)
    assert not settings.is_trigger(f"{TRIGGER} open", TRIGGERS)


def test_there_is_a_setting_for_each_key_of_the_file_and_no_other() -> None:
    tables: dict[str, type[BaseModel]] = {
        "": shape.File,
        "limits.": shape.Limits,
        "window.": shape.Window,
    }
    keys = {f"{table}{key}" for table, kind in tables.items() for key in kind.model_fields}

    assert keys - {"limits", "routes", "window"} == NAMES


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", ["fs.list", '"fs.list"'])
def test_a_policy_says_what_an_operation_may_be_at_most(file: Path, name: str, rule: Rule) -> None:
    file.write_text(f'[routes]\n{name} = "{rule}"\nfetch = "DENY"\n')

    settings = load(file)

    assert settings.complaint is None
    assert settings.routes == {"fs.list": rule, "fetch": "DENY"}


def test_saving_leaves_the_policy_as_it_is(file: Path) -> None:
    file.write_text('[routes]\nfs.list = "DENY"  # mine\n')

    save(file, {"context": 4096})

    assert load(file) == Settings(context=4096, routes={"fs.list": "DENY"})
    assert "# mine" in file.read_text()


@pytest.mark.parametrize(("short", "op"), sorted(ALIASES.items()))
def test_a_policy_takes_the_short_names_that_all_else_takes(
    file: Path, short: str, op: str
) -> None:
    file.write_text(f'[routes]\n{short} = "DENY"\n')

    assert load(file) == Settings(routes={op: "DENY"})


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ('made.up = "ASK"', "there is no operation 'made.up'"),
        ('reading = "ASK"', "there is no operation 'reading'"),
        ('read = "maybe"', "fs.read_text is one of DENY, EMULATE, ASK, HOST"),
        ('read.text = "ASK"', "there is no operation 'read.text'"),
        ('read = "ASK"\nfs.read_text = "DENY"', "fs.read_text is there twice"),
        ('fs.read_text = "ASK"\nread = "ASK"', "fs.read_text is there twice"),
        ('fs = "ASK"', "there is no operation 'fs'"),
        ("fs = {}", "there is no operation 'fs'"),
        ('fs.list.deep = "ASK"', "fs.list is one of DENY, EMULATE, ASK, HOST"),
        ('fetch = "ask"', "fetch is one of DENY, EMULATE, ASK, HOST"),
        ("fetch = true", "fetch is one of DENY, EMULATE, ASK, HOST"),
        ('fs.list = "ASK"\n"fs.list" = "DENY"', "fs.list is there twice"),
    ],
)
def test_a_policy_that_nobody_understands_is_an_error(
    file: Path, wrong: str, sentence: str
) -> None:
    file.write_text(f"[routes]\n{wrong}\n")

    settings = load(file)

    assert sentence in (settings.complaint or "")
    assert settings.routes == nothing_by_host()
