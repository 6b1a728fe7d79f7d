from __future__ import annotations

import itertools
import subprocess
import sys
import tkinter as tk
from collections.abc import Iterator
from pathlib import Path
from tkinter import ttk

import pytest

from lmboot.gui import fonts
from lmboot.gui import look as looks
from lmboot.gui.drawing import contrast, mix, readable
from lmboot.gui.look import PALETTES, Look
from lmboot.gui.styles import POPDOWN
from lmboot.gui.textstyle import mixed_colour
from lmboot.gui.transcript import NAMED, background, foreground
from lmboot.gui.widgets import Box

TEXTS = ("text", "muted", "faint", "accent", "ok", "warn", "bad", "violet", "cyan")
SURFACES = ("main", "panel", "raised")
ALONE = """
import sys, tkinter
before = set(sys.modules)
import lmboot.gui.frame
print(*sorted({name.partition('.')[0] for name in set(sys.modules) - before}))
"""


@pytest.mark.parametrize("theme", PALETTES)
@pytest.mark.parametrize(("name", "surface"), list(itertools.product(TEXTS, SURFACES)))
def test_every_text_can_be_read_on_every_surface(theme: str, name: str, surface: str) -> None:
    palette = PALETTES[theme]

    assert contrast(palette[name], palette[surface]) >= 4.5


@pytest.mark.parametrize("theme", PALETTES)
@pytest.mark.parametrize("name", ["accent", "warn", "bad"])
def test_the_word_of_a_chosen_route_can_be_read_on_its_tint(theme: str, name: str) -> None:
    palette = PALETTES[theme]

    assert contrast(palette[name], mix(palette[name], palette["raised"], 0.16)) >= 4.5


@pytest.mark.parametrize("theme", PALETTES)
def test_the_filled_button_and_the_chosen_row_can_be_read(theme: str) -> None:
    palette = PALETTES[theme]

    assert contrast(palette["on_fill"], palette["fill"]) >= 4.5
    assert contrast(palette["text"], palette["select"]) >= 4.5
    assert contrast(palette["muted"], palette["select"]) >= 4.5


def test_both_palettes_have_the_same_colours() -> None:
    assert PALETTES["dark"].keys() == PALETTES["light"].keys()


@pytest.mark.parametrize("theme", PALETTES)
def test_no_colours_of_a_terminal_hide_a_text(look: Look, root: tk.Tk, theme: str) -> None:
    """A guest chooses colours to hide what it says; it may not be able to."""
    look.use(theme)
    fronts = [foreground(look, str(n)) for n in range(64)] + [foreground(look, "-back")]
    backs = [background(look, str(n)) for n in range(64)] + [background(look, "-fore")]

    worst = min(contrast(front, back) for front in fronts for back in backs)

    assert min(contrast(front, look["main"]) for front in fronts) >= 4.5
    assert worst >= 2.5


def test_a_colour_that_can_be_read_stays_as_it_is() -> None:
    assert readable("#000000", on="#ffffff", towards="#ffffff") == "#000000"
    assert readable(mixed_colour(63), on="#ffffff", towards="#000000") != mixed_colour(63)
    assert len(NAMED) == 16


def test_contrast_is_what_the_standard_says() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#777777") == 1


@pytest.mark.parametrize(
    ("wanted", "variable", "scale"),
    [(1.5, "", 1.5), (None, "2", 2.0), (1.25, "2", 1.25), (9.0, "", 1.0), (None, "11", 1.0)],
)
def test_the_scale_is_what_is_wanted_unless_that_is_silly(
    root: tk.Tk, monkeypatch: pytest.MonkeyPatch, wanted: float | None, variable: str, scale: float
) -> None:
    monkeypatch.setenv("LMBOOT_SCALE", variable)
    monkeypatch.setattr(fonts, "_xft_dpi", lambda _: None)

    assert fonts.scale_of(root, wanted) == scale


@pytest.mark.parametrize(("dpi", "scale"), [(96.0, 1.0), (144.0, 1.5), (48.0, 1.0), (960.0, 3.0)])
def test_without_a_wish_the_scale_is_the_displays(
    root: tk.Tk, monkeypatch: pytest.MonkeyPatch, dpi: float, scale: float
) -> None:
    monkeypatch.delenv("LMBOOT_SCALE", raising=False)
    monkeypatch.setattr(fonts, "_xft_dpi", lambda _: dpi)

    assert fonts.scale_of(root) == scale


def test_a_picture_for_later_can_be_drawn_before_and_is_whole_after(look: Look) -> None:
    """To fill a surface with a picture that has no size takes Tk for ever."""
    late, now = look.shape("ok", "bad", later=True), look.shape("ok", "warn")
    before = late.width(), late.height()

    look.finish()

    assert min(before) > 0
    assert (late.width(), late.height()) == (now.width(), now.height())


def test_a_change_of_the_palette_repaints_pictures_where_they_stand(
    root: tk.Tk, look: Look
) -> None:
    look.use("light")
    label = tk.Label(root, image=look.dot("ok"))
    middle = look.dot("ok").get(4, 4)

    look.use("dark")

    assert look.dot("ok").get(4, 4) != middle
    assert str(label["image"]) == str(look.dot("ok"))
    look.use("light")
    assert look.dot("ok").get(4, 4) == middle


def colours_of_the_list(box: ttk.Combobox) -> dict[str, str]:
    """Return the colours of a box's list, which is made when it is first asked for."""
    window = box.tk.call("ttk::combobox::PopdownWindow", box)
    return {
        option: str(box.tk.call(f"{window}.f.l", "cget", f"-{option.lower()}"))
        for option in POPDOWN
    }


def test_the_list_of_a_combobox_follows_the_palette(base: Box, look: Look) -> None:
    box, unopened = base.combobox(values=["a"]), base.combobox(values=["a"])
    light = colours_of_the_list(box)

    look.use("dark")
    dark = colours_of_the_list(box)
    later = [colours_of_the_list(each) for each in (unopened, base.combobox(values=["a"]))]
    look.use("light")

    assert light == {option: PALETTES["light"][name] for option, name in POPDOWN.items()}
    assert dark == {option: PALETTES["dark"][name] for option, name in POPDOWN.items()}
    assert later == [dark, dark]
    assert colours_of_the_list(unopened) == light


def test_a_painter_is_called_until_its_widget_has_gone(root: tk.Tk, look: Look) -> None:
    look.use("light")
    seen: list[str] = []
    canvas = tk.Canvas(root)
    look.follow(canvas, lambda: seen.append(look.theme))

    look.use("dark")
    canvas.destroy()
    look.use("light")

    assert seen == ["light", "dark"]


@pytest.mark.parametrize(
    ("name", "text", "theme"),
    [
        ("gtk-3.0/settings.ini", "[Settings]\ngtk-application-prefer-dark-theme = 1\n", "dark"),
        ("kdeglobals", "[General]\nColorScheme=BreezeDark\n", "dark"),
        ("dconf/user", "GVariant\0color-scheme\0prefer-dark\0", "dark"),
        ("dconf/user", "GVariant\0color-scheme\0prefer-light\0", "light"),
        ("other", "dark", "light"),
    ],
)
@pytest.mark.skipif(sys.platform != "linux", reason="what Linux desktops keep in files")
def test_the_systems_palette_is_read_from_what_desktops_keep(
    root: tk.Tk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, theme: str
) -> None:
    monkeypatch.delenv("GTK_THEME", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text, "utf-8")

    assert looks.system_theme(root) == theme


def test_the_window_imports_nothing_dear_before_it_is_shown() -> None:
    """Each of these takes as long as the half of a window."""
    found = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, check=True
    )

    dear = {"asyncio", "dataclasses", "argparse", "pydantic", "httpx", "pygments", "inspect"}
    assert dear & set(found.stdout.split()) == set()


@pytest.fixture
def zoomed(look: Look) -> Iterator[Look]:
    yield look
    look.zoom(1.0)


def sizes(root: tk.Tk) -> dict[str, int]:
    return {name: int(root.tk.call("font", "configure", name, "-size")) for name in fonts.STEPS}


def test_zooming_changes_every_font_and_comes_back(root: tk.Tk, zoomed: Look) -> None:
    before = sizes(root)

    zoomed.zoom(1.5)
    larger = sizes(root)
    zoomed.zoom(1.0)

    assert larger == {name: pytest.approx(size * 1.5, abs=0.5) for name, size in before.items()}
    assert sizes(root) == before


@pytest.mark.parametrize(("factor", "kept"), [(0.1, 0.8), (9.0, 2.5), (1.25, 1.25)])
def test_zooming_keeps_within_what_can_be_read(zoomed: Look, factor: float, kept: float) -> None:
    zoomed.zoom(factor)

    assert zoomed.factor == kept
    assert zoomed.room(100) == 100 * kept
    assert zoomed.px(100) == 100


def test_what_holds_a_text_grows_with_it(zoomed: Look) -> None:
    def row() -> int:
        return int(zoomed.style.lookup("panel.Treeview", "rowheight"))

    seen: list[int] = []
    before, linespace = row(), zoomed.linespace
    canvas = tk.Canvas(zoomed.root)
    zoomed.follow(canvas, lambda: seen.append(zoomed.linespace))

    zoomed.zoom(2.0)

    assert row() - before == zoomed.linespace - linespace > 10
    assert seen == [linespace, zoomed.linespace]
