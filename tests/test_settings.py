from __future__ import annotations

from pathlib import Path

import pytest

from lmboot.bootstrap.prompts import TRIGGER, TRIGGERS
from lmboot.runtime.policy import Limits
from lmboot.settings import Settings, load


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
    )

    settings = load(file)

    limits = Limits(memory_mb=100, wall_seconds=7.5)
    assert settings == Settings(False, "GO", "please", 4096, limits)


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
        "x" * 5000,
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


def test_a_file_that_can_not_be_read_stays_where_it_is(file: Path) -> None:
    file.mkdir()

    complaint = load(file).complaint

    assert complaint is not None
    assert "defaults" in complaint
    assert file.is_dir()


def test_the_next_bad_file_takes_the_place_of_the_last(file: Path) -> None:
    for wrong in ("a", "b"):
        file.write_text(wrong)
        load(file)

    assert file.with_name("settings.toml.bad").read_text() == "b"


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
