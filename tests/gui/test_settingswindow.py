from __future__ import annotations

import shutil
import subprocess
import tkinter as tk
from collections.abc import Callable, Iterator
from pathlib import Path
from tkinter import ttk
from typing import Any

import pytest

from lmboot.errors import LmbootError
from lmboot.gui.look import Look
from lmboot.gui.settingswindow import SCALES, ZOOMS, SettingsWindow
from lmboot.gui.widgets import Box
from lmboot.runtime.policy import Limits
from lmboot.settings import NAMES, Settings, WindowSettings, load, save
from tests.gui import tkroot
from tests.gui.tkroot import keys, mapped, settle, wait_until

Open = Callable[..., SettingsWindow]


class Caller:
    """Who opened the window: what it was told, and what it will answer."""

    def __init__(self) -> None:
        self.saved: list[dict[str, Any]] = []
        self.forgotten = 0
        self.answer: str | None = None

    def save(self, changes: dict[str, Any]) -> str | None:
        self.saved.append(changes)
        return self.answer

    def forget(self) -> None:
        self.forgotten += 1


@pytest.fixture
def caller() -> Caller:
    return Caller()


@pytest.fixture
def opened(base: Box, root: tk.Tk, look: Look, caller: Caller) -> Iterator[Open]:
    """Open the window over a mapped one, on the values given; it is closed after the test."""
    windows: list[SettingsWindow] = []

    def make(**values: Any) -> SettingsWindow:
        dotted = {name.replace("__", "."): value for name, value in values.items()}
        made = SettingsWindow(root, look, dotted, caller.save, caller.forget)
        made.window.geometry("720x480+0+0")
        wait_until(root, made.window.winfo_viewable)
        settle(root)
        windows.append(made)
        return made

    yield make
    for window in windows:
        if window.open:
            window.close()


def fill(window: SettingsWindow, name: str, text: str) -> None:
    """Type into a field, or choose from a list."""
    field = window.controls[name].takes_keys
    assert isinstance(field, ttk.Entry)
    if isinstance(field, ttk.Combobox):
        field.set(text)
    else:
        field.delete(0, "end")
        field.insert(0, text)
    settle(field)


def tick(window: SettingsWindow, name: str) -> None:
    keys(window.controls[name].takes_keys, "<space>")


def words(window: SettingsWindow) -> list[str]:
    """Return the words of all labels and buttons on the screen."""
    kinds = ("TLabel", "TButton")
    return [str(each["text"]) for each in mapped(window.window) if each.winfo_class() in kinds]


def labels(window: SettingsWindow, text: str) -> list[ttk.Label]:
    found = [each for each in mapped(window.window) if isinstance(each, ttk.Label)]
    return [label for label in found if label["text"] == text]


def button(window: SettingsWindow, text: str) -> ttk.Button:
    found = [each for each in mapped(window.window) if isinstance(each, ttk.Button)]
    return next(each for each in found if each["text"] == text)


# ---------------------------------------------------------------- what is handed over


def test_every_setting_is_there_but_the_passphrase(opened: Open) -> None:
    assert set(opened().controls) == NAMES - {"passphrase"}


def test_what_was_not_changed_is_not_handed_over(opened: Open, caller: Caller) -> None:
    window = opened(**{name.replace(".", "__"): v for name, v in Settings().by_name().items()})

    window.save()

    assert caller.saved == []
    assert not window.open


def test_only_what_was_changed_is_handed_over_by_its_name(opened: Open, caller: Caller) -> None:
    window = opened(window__server="http://a:1", trigger="GO", context=4096, warm=False)
    keys(window.controls["window.theme"].takes_keys, "<Right>")
    fill(window, "window.scale", "150 %")
    fill(window, "window.zoom", "90 %")
    fill(window, "window.scrollback", "2 000")
    fill(window, "window.server", " http://b:2 ")
    fill(window, "limits.cpu_seconds", "7.5")
    tick(window, "warm")

    window.save()

    changes = {"window.theme": "dark", "window.scale": 1.5, "window.zoom": 0.9, "warm": True}
    changes |= {"window.server": "http://b:2", "window.scrollback": 2000}
    assert caller.saved == [{**changes, "limits.cpu_seconds": 7.5}]
    assert type(caller.saved[0]["window.scrollback"]) is int
    assert not window.open


def test_what_was_emptied_is_handed_over_as_none(opened: Open, caller: Caller) -> None:
    window = opened(
        window__server="a", trigger="GO", context=4096, window__scale=2.0, limits__memory_mb=1
    )
    for name in ("window.server", "trigger", "context", "limits.memory_mb"):
        fill(window, name, "")
    fill(window, "window.scale", "Automatic")

    window.save()

    names = ("window.server", "trigger", "context", "limits.memory_mb", "window.scale")
    assert caller.saved == [dict.fromkeys(names)]


def test_a_scale_between_the_offered_ones_stays(opened: Open, caller: Caller) -> None:
    window = opened(window__scale=1.3333, window__zoom=1.07)

    window.save()

    assert caller.saved == []


def test_what_is_offered_can_be_saved(opened: Open, tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"

    for name, shares in (("window.scale", SCALES), ("window.zoom", ZOOMS)):
        for share in shares:
            save(file, {name: share / 100})

    assert load(file).window == WindowSettings(scale=3.0, zoom=2.5)


def test_a_limit_that_holds_anyhow_is_shown_faintly_in_an_empty_field(
    opened: Open, caller: Caller
) -> None:
    window = opened(limits__memory_mb=512, limits__disk_mb=8)

    fields = [window.controls[f"limits.{key}"].value for key in ("memory_mb", "disk_mb")]

    assert fields == [None, 8]
    assert {"512", "600", "no limit", "10000", "8192", "look for servers"} <= set(words(window))
    fill(window, "limits.memory_mb", "1")
    assert "512" not in words(window)


# ---------------------------------------------------------------- what can't be taken


@pytest.mark.parametrize("typed", ["abc", "1,5", "nan", "inf", "--1", "1.5.2", "0x10"])
def test_what_is_no_number_is_said_beside_it_and_nothing_handed_over(
    opened: Open, caller: Caller, root: tk.Tk, typed: str
) -> None:
    window = opened()
    fill(window, "limits.disk_mb", typed)
    tick(window, "warm")

    keys(window.window, "<Control-Return>")

    said = labels(window, f"“{typed}” is no number.")
    assert caller.saved == []
    assert [str(each.master) for each in said] == [str(window.controls["limits.disk_mb"])]
    assert window.controls["limits.disk_mb"].takes_keys.instate(["invalid"])
    assert root.focus_get() is window.controls["limits.disk_mb"].takes_keys
    assert on_screen(window, said[0])


def test_what_must_be_whole_takes_no_fraction(opened: Open, caller: Caller) -> None:
    window = opened()
    fill(window, "context", "4096.5")

    window.save()

    assert caller.saved == []
    assert "Only a whole number can stand here." in words(window)


def test_what_was_said_goes_when_it_is_corrected(opened: Open, caller: Caller) -> None:
    window = opened()
    fill(window, "context", "x")
    window.save()

    fill(window, "context", "4096")
    corrected = words(window)
    window.save()

    assert not any("no number" in each for each in corrected)
    assert caller.saved == [{"context": 4096}]


def test_a_refusal_is_shown_beside_the_buttons_and_the_window_stays(
    opened: Open, caller: Caller, look: Look
) -> None:
    caller.answer = "The file can't be written."
    window = opened()
    tick(window, "warm")

    keys(button(window, "Save"), "<Return>")
    styles = [str(each["style"]) for each in labels(window, caller.answer)]
    caller.answer = None
    window.save()

    assert [look.style.lookup(each, "foreground") for each in styles] == [look["bad"]]
    assert caller.saved == [{"warm": False}] * 2
    assert not window.open


def test_a_refusal_of_one_setting_leads_to_it(opened: Open, caller: Caller) -> None:
    caller.answer = "limits.memory_mb can't be 9999: it can only be lowered."
    window = opened()
    fill(window, "limits.memory_mb", "9999")

    window.save()
    settle(window.window)

    field = window.controls["limits.memory_mb"].takes_keys
    assert "Memory can't be 9999: it can only be lowered." in words(window)
    assert window.window.focus_lastfor() is field
    assert field.instate(["invalid"])
    assert on_screen(window, field)


def test_it_works_with_the_real_settings(
    base: Box, root: tk.Tk, look: Look, tmp_path: Path
) -> None:
    file = tmp_path / "settings.toml"

    def keep(changes: dict[str, Any]) -> str | None:
        try:
            save(file, changes)
        except LmbootError as error:
            return f"{error}. {error.hint}"
        return None

    window = SettingsWindow(root, look, load(file).by_name(), keep, lambda: None)
    wait_until(root, window.window.winfo_viewable)
    fill(window, "limits.memory_mb", "513")
    window.save()
    settle(root)
    refused = words(window)
    fill(window, "limits.memory_mb", "100")
    window.save()

    assert "Memory can't be 513: it can only be lowered. At most 512 is allowed." in str(refused)
    assert load(file) == Settings(limits=Limits(memory_mb=100))
    assert not window.open


# ---------------------------------------------------------------- keys


def on_screen(window: SettingsWindow, widget: tk.Misc) -> bool:
    """Say whether a widget lies wholly between the window's top and its buttons."""
    bar = button(window, "Save").winfo_rooty()
    return window.window.winfo_rooty() <= widget.winfo_rooty() <= bar - widget.winfo_height()


def test_tab_goes_through_everything_from_top_to_bottom_and_shows_it(
    opened: Open, root: tk.Tk
) -> None:
    window = opened()
    first: tk.Misc = window.controls["window.theme"].takes_keys
    met: list[tk.Misc] = []
    unseen, at = [], first
    keys(first)
    while not met or at is not first:
        met.append(at)
        if at.winfo_class() != "TButton" and not on_screen(window, at):
            unseen.append(str(at))
        keys(at, "<Tab>")
        at = root.focus_get() or first

    expected: list[tk.Misc] = [each.takes_keys for each in window.controls.values()]
    expected += [button(window, text) for text in ("Forget what was typed", "Cancel", "Save")]
    assert met == expected
    assert unseen == []


def test_the_arrows_choose_a_theme(opened: Open) -> None:
    window = opened()
    theme, chosen = window.controls["window.theme"], []

    for key in ("<Left>", "<Right>", "<Down>", "<Up>"):
        keys(theme.takes_keys, key)
        chosen.append((theme.value, theme.takes_keys["text"]))

    assert chosen == [
        ("light", "Light"),
        ("system", "System"),
        ("dark", "Dark"),
        ("system", "System"),
    ]


def test_escape_drops_the_changes(opened: Open, caller: Caller) -> None:
    window = opened()
    tick(window, "warm")

    keys(window.window, "<Escape>")

    assert not window.open
    assert caller.saved == []


@pytest.mark.parametrize("where", ["Save", "Cancel", "Forget what was typed"])
def test_control_return_saves_once_wherever_the_keyboard_is(
    opened: Open, caller: Caller, where: str
) -> None:
    window = opened()
    tick(window, "warm")

    keys(button(window, where), "<Control-Return>")

    assert caller.saved == [{"warm": False}]
    assert caller.forgotten == 0
    assert not window.open


def test_the_pages_are_turned_by_keys(opened: Open) -> None:
    window = opened()
    top = window.controls["window.theme"].takes_keys

    keys(window.window, "<Next>")
    below = on_screen(window, top)
    keys(window.window, "<Prior>")

    assert not below
    assert on_screen(window, top)


@pytest.mark.parametrize("wheel", ["<Button-5>", "<MouseWheel>"])
def test_the_wheel_over_a_list_scrolls_and_chooses_nothing(opened: Open, wheel: str) -> None:
    window = opened(window__scale=1.5)
    control = window.controls["window.scale"]
    before = control.winfo_rooty()

    delta = ("-delta", -120) if wheel == "<MouseWheel>" else ()
    control.tk.call("event", "generate", control.takes_keys, wheel, *delta)
    settle(control)

    assert control.value == 1.5
    assert control.winfo_rooty() < before


# ---------------------------------------------------------------- the window itself


def test_what_was_typed_is_forgotten_once(opened: Open, caller: Caller) -> None:
    window = opened()
    forget = button(window, "Forget what was typed")

    keys(forget, "<Return>")
    keys(forget, "<Return>")

    assert caller.forgotten == 1
    assert "Forgotten" in words(window)


def test_it_says_where_transcripts_are_kept_if_it_was_told(opened: Open) -> None:
    told = opened(transcripts_path="/home/me/transcripts")
    untold = opened()

    assert "Kept in /home/me/transcripts until you delete them." in words(told)
    assert "Transcripts" not in words(untold)


def test_it_says_where_the_policy_stands_if_it_was_told(opened: Open) -> None:
    told = opened(path="/home/me/settings.toml")
    untold = opened()

    sentence = (
        "The most that any program may have stands under [routes] in /home/me/settings.toml."
    )
    assert sentence in words(told)
    assert "[routes]" not in words(untold)


def test_the_other_window_goes_on(opened: Open, root: tk.Tk, base: Box) -> None:
    entry = ttk.Entry(base)
    entry.pack()
    keys(entry)
    window = opened()
    keys(window.controls["trigger"].takes_keys)

    assert not root.tk.call("grab", "current", root)
    assert str(window.window.transient()) == str(root)
    window.lift()
    window.close()
    assert not window.open
    assert root.focus_get() is entry


def test_it_follows_the_palette(opened: Open, look: Look) -> None:
    window = opened()

    look.use("dark")

    assert window.window["background"] == look["main"]
    look.use("light")


@pytest.fixture(params=[1.0, 2.0], ids=["scale-1", "scale-2"])
def apart(request: pytest.FixtureRequest, session_root: tk.Tk) -> Iterator[SettingsWindow]:
    """A window over a root of its own: a scale belongs to a root for good."""
    root = tk.Tk(className="Lmboot")
    raised: list[object] = []
    root.report_callback_exception = lambda kind, error, where: raised.append(error)
    values = {"transcripts_path": "/home/someone/with/a/long/name/.local/state/transcripts"}
    look = Look(root, "light", request.param)
    wait_until(root, root.winfo_viewable)
    window = SettingsWindow(root, look, values, lambda _: "No. " * 40, lambda: None)
    yield window
    window.close()
    tkroot.settle(session_root)
    session_root.focus_force()  # what has the keyboard when it dies is not safe with Tk 8.6
    root.destroy()
    assert raised == []


def picture(window: SettingsWindow, path: Path) -> None:
    """Take a picture of the window, where the machine has a program for it."""
    camera = shutil.which("import")
    if camera:
        number = window.window.frame()
        subprocess.run([camera, "-window", number, str(path)], check=True, timeout=30)


@pytest.mark.parametrize("size", ["as it opens", "least", "least in pixels"])
def test_nothing_is_cut_off(apart: SettingsWindow, tmp_path: Path, size: str) -> None:
    window, look = apart.window, apart.look
    if size != "as it opens":
        scale = look.scale if size == "least" else 1
        window.geometry(f"{round(720 * scale)}x{round(480 * scale)}+0+0")
    wait_until(window, window.winfo_viewable)
    fill(apart, "window.scrollback", "a number it is not")
    apart.save()
    fill(apart, "window.scrollback", "5")
    apart.save()
    fill(apart, "limits.processes", "not that one either")
    tkroot.settle(window)

    for theme in ("light", "dark"):
        look.use(theme)
        for page in range(4):
            tkroot.settle(window)
            picture(apart, tmp_path / f"{theme}-{page}.png")
            keys(window, "<Next>")

        assert tkroot.clipped(window) == []
        assert low(window) == []


def low(window: tk.Misc) -> list[str]:
    """Name each widget with words that needs more height than it has."""
    kinds = ("TLabel", "TButton", "TRadiobutton", "TCheckbutton", "TEntry", "TCombobox")
    every = [each for each in mapped(window) if each.winfo_class() in kinds]
    return [str(each) for each in every if each.winfo_reqheight() > each.winfo_height() + 1]


def test_it_comes_to_rest(apart: SettingsWindow) -> None:
    """Layouts that answer each other could go on for ever."""
    tkroot.settle(apart.window)
    for width in (400, 560, 720, 1000):
        apart.window.geometry(f"{width}x480")
        tkroot.settle(apart.window)
        tkroot.settle(apart.window)
    changes: list[str] = []
    apart.window.bind_all("<Configure>", lambda event: changes.append(str(event.widget)))

    tkroot.settle(apart.window)

    assert changes == []
