"""The window's look: two palettes, one scale, and the pictures that ttk stretches.

Depth is a change of surface (main, panel, raised) plus a hairline; nothing has a relief. Texts
have three strengths, and one accent says where to look; the other colours mean something: ok,
warn, bad, violet for the model.
"""

from __future__ import annotations

import os
import sys
import tkinter as tk
from collections.abc import Callable
from tkinter import ttk

from lmboot.gui import drawing, fonts, styles

DARK = {
    "main": "#14161b",
    "panel": "#1a1d23",
    "raised": "#252932",
    "hover": "#2e333e",
    "line": "#2a2f38",
    "edge": "#3c4351",
    "text": "#e8eaef",
    "muted": "#a8b0be",
    "faint": "#919aaa",
    "accent": "#93abff",
    "fill": "#4664dc",
    "fill_hover": "#5470e4",
    "on_fill": "#ffffff",
    "select": "#27304b",
    "ok": "#76cf9c",
    "warn": "#e6b566",
    "bad": "#f5949b",
    "violet": "#bea6ff",
    "cyan": "#6fcbd8",
}
LIGHT = {
    "main": "#ffffff",
    "panel": "#f5f6f8",
    "raised": "#ffffff",
    "hover": "#ebeef3",
    "line": "#e2e5ea",
    "edge": "#ced3dc",
    "text": "#1a1d24",
    "muted": "#525b6a",
    "faint": "#646d7d",
    "accent": "#2f4fc6",
    "fill": "#3856d0",
    "fill_hover": "#2d48b8",
    "on_fill": "#ffffff",
    "select": "#e2e8fc",
    "ok": "#146b44",
    "warn": "#805200",
    "bad": "#b02735",
    "violet": "#673fc2",
    "cyan": "#0b6473",
}
PALETTES = {"dark": DARK, "light": LIGHT}
SURFACES = ("main", "panel", "raised")
MOST_OF_A_SETTINGS_FILE = 1 << 20


class Look:
    """One palette at one scale for one root. Keep it alive: Tk forgets an image when Python does.

    A colour's name is a palette's key or a tint: "ok:16:raised" is 16 % of ok on raised. Pictures
    are named by such colours, so `use` can repaint all of them where they stand.
    """

    def __init__(self, root: tk.Tk, theme: str = "light", scale: float | None = None) -> None:
        self.root = root
        self.scale = fonts.scale_of(root, scale)
        self.factor = 1.0  # how much larger texts are than at this scale
        self.theme = theme
        self.style = ttk.Style(root)
        self._nothing = tk.PhotoImage(master=root, width=styles.LARGE[0], height=styles.LARGE[1])
        self._images: dict[tuple[object, ...], tk.PhotoImage] = {}
        self._painters: dict[tuple[object, ...], Callable[[], bytes]] = {}
        self._empty: set[tuple[object, ...]] = set()  # the pictures that `finish` paints
        self._labels: set[tuple[str, str, str]] = set()
        self._followers: dict[str, Callable[[], None]] = {}
        fonts.make_fonts(root, self.scale)
        self.linespace = fonts.linespace(root)
        self._own_theme()
        styles.build(self)
        styles.colour(self)

    def _own_theme(self) -> None:
        """Stand on clam's elements, but none of its style maps: no hover colour to be fought."""
        name = f"lmboot{len(self.style.theme_names())}"
        self.style.theme_create(name, parent="clam")
        self.style.theme_use(name)

    def __getitem__(self, name: str) -> str:
        """Return a colour as #rrggbb."""
        front, _, rest = name.partition(":")
        palette = PALETTES[self.theme]
        if not rest:
            return palette[front]
        percent, _, back = rest.partition(":")
        return drawing.mix(palette[front], palette[back], int(percent) / 100)

    def tint(self, colour: str, percent: int) -> str:
        """Return some of any colour, given as #rrggbb, on the main surface."""
        return drawing.mix(colour, self["main"], percent / 100)

    def px(self, length: float) -> int:
        """Return a length given for scale 1 in pixels."""
        return round(length * self.scale)

    def room(self, length: float) -> int:
        """Return a length given for scale 1 in pixels, for what a text must fit into: it zooms."""
        return round(length * self.scale * self.factor)

    def pad(self, before: float, after: float) -> tuple[int, int]:
        """Return two lengths in pixels: before and after, or across and down."""
        return self.px(before), self.px(after)

    def pads(self, *lengths: float) -> tuple[int, ...]:
        """Return several lengths in pixels."""
        return tuple(self.px(length) for length in lengths)

    def use(self, theme: str) -> None:
        """Change to "dark" or "light"; everything on the screen is repainted."""
        if theme == self.theme:
            return
        self.theme = theme
        for key in self._images:
            self._fill(key)
        self._empty.clear()
        self._repaint()

    def zoom(self, factor: float) -> None:
        """Make all texts `factor` times (0.8 to 2.5) as large, and with them what holds them."""
        self.factor = fonts.zoom(self.root, self.scale, factor)
        self.linespace = fonts.linespace(self.root)
        self._repaint()

    def _repaint(self) -> None:
        styles.colour(self)
        for label in self._labels:
            self._colour_label(*label)
        for paint in list(self._followers.values()):
            paint()

    def follow(self, widget: tk.Misc, paint: Callable[[], None]) -> None:
        """Call `paint` now and after every change of palette or zoom, as long as `widget` lives.

        For what ttk's styles do not reach: texts, canvases, menus. One painter for a widget.
        """
        name = str(widget)
        self._followers[name] = paint
        widget.bind("<Destroy>", lambda event: self._forget(event, name), add=True)
        paint()

    def _forget(self, event: tk.Event[tk.Misc], name: str) -> None:
        if str(event.widget) == name:
            self._followers.pop(name, None)

    def shape(
        self,
        fill: str | None = None,
        edge: str | None = None,
        *,
        radius: float = styles.RADIUS,
        width: float = 1.0,
        core: tuple[int, int] = styles.CORE,
        later: bool = False,
    ) -> tk.PhotoImage:
        """Return a rounded rectangle to be stretched; lengths for scale 1.

        What is for `later` stays empty until `finish`.
        """

        def paint() -> bytes:
            face, rim = (self[name] if name else None for name in (fill, edge))
            return drawing.rounded(
                face,
                rim,
                radius=radius * self.scale,
                width=width * self.scale,
                core=(self.px(core[0]), self.px(core[1])),
            )

        return self._image(("shape", fill, edge, radius, width, core), paint, later)

    def nothing(self) -> tk.PhotoImage:
        """Return a picture with nothing in it, for what shows itself in some states only."""
        return self._nothing

    def strokes(
        self, colour: str, *points: drawing.Point, size: float = 12, width: float = 1.6
    ) -> tk.PhotoImage:
        """Return a small drawing of lines; lengths for scale 1."""

        def paint() -> bytes:
            return drawing.strokes(self[colour], points, size=size, width=width, scale=self.scale)

        return self._image(("strokes", colour, points, size, width), paint)

    def bands(self, *bands: tuple[str | None, float], width: float = 8) -> tk.PhotoImage:
        """Return horizontal bands of (colour or None, height)."""

        def paint() -> bytes:
            rows = [(self[c] if c else None, max(1, self.px(h))) for c, h in bands]
            return drawing.blank(rows, width=self.px(width))

        return self._image(("bands", bands, width), paint)

    def dot(self, colour: str, *, hollow: bool = False) -> tk.PhotoImage:
        """Return the dot of a state; a hollow one is told apart without its colour."""
        return self.shape(None if hollow else colour, colour, radius=4, width=1.5, core=(0, 0))

    def point(self, colour: str) -> tk.PhotoImage:
        """Return a small dot on as much room as a tick takes, to stand where a tick will."""
        return self.strokes(colour, (5.9, 6), (6.1, 6), width=6)

    def check(self, colour: str = "ok") -> tk.PhotoImage:
        """Return a tick."""
        return self.strokes(colour, (2, 6.5), (4.8, 9.3), (10, 3))

    def cross(self, colour: str = "bad") -> tk.PhotoImage:
        """Return a cross."""
        return self.strokes(colour, (2.8, 2.8), (9.2, 9.2), (6, 6), (9.2, 2.8), (2.8, 9.2))

    def label_style(self, colour: str, font: str, surface: str) -> str:
        """Return the style of a label, made when it is first asked for."""
        key = colour, font, surface
        if key not in self._labels:
            self._labels.add(key)
            self._colour_label(*key)
        return _label_name(*key)

    def _colour_label(self, colour: str, font: str, surface: str) -> None:
        self.style.configure(
            _label_name(colour, font, surface),
            font=font,
            foreground=self[colour],
            background=self[surface],
        )

    def finish(self) -> None:
        """Paint what the first sight of a window did not need."""
        for key in self._empty:
            self._fill(key)
        self._empty.clear()

    def _fill(self, key: tuple[object, ...]) -> None:
        data = self._painters[key]()
        self._images[key].configure(data=data, format="png", width=0, height=0)  # the data's own

    def _image(
        self, key: tuple[object, ...], paint: Callable[[], bytes], later: bool = False
    ) -> tk.PhotoImage:
        if key not in self._images:
            self._painters[key] = paint
            # With a size, since to fill a surface with a picture that has none takes Tk for ever.
            self._images[key] = tk.PhotoImage(master=self.root, width=64, height=64)
            self._empty.add(key)
        if key in self._empty and not later:
            self._fill(key)
            self._empty.remove(key)
        return self._images[key]


def _label_name(colour: str, font: str, surface: str) -> str:
    return f"{colour.replace(':', '-')}.{font}.{surface}.TLabel"


def before_root() -> None:
    """Tell Windows, before the first window, that lmboot scales itself; not tried there yet."""
    if sys.platform == "win32":
        import ctypes

        per_monitor = ctypes.c_void_p(-4)
        ctypes.windll.user32.SetProcessDpiAwarenessContext(per_monitor)


def system_theme(root: tk.Misc) -> str:
    """Return "dark" or "light" as the system has it, from what is cheap to read; else light.

    macOS and Windows are asked as documented, but were not tried. On Linux the desktop's portal
    would be the one to ask, but starting a client for it takes longer than the window: what GTK,
    KDE and GNOME keep in files is read instead.
    """
    if sys.platform == "win32":
        dark = _windows_is_dark()
    elif sys.platform == "darwin":
        dark = _mac_is_dark(root)
    else:
        dark = _desktop_is_dark()
    return "dark" if dark else "light"


def _windows_is_dark() -> bool:
    if sys.platform == "win32":
        import winreg

        path = r"Software\Microsoft\Windows\CurrentVersion\Themes\Personalize"
        try:
            with winreg.OpenKey(winreg.HKEY_CURRENT_USER, path) as key:
                return bool(winreg.QueryValueEx(key, "AppsUseLightTheme")[0] == 0)
        except OSError:
            pass  # an older Windows: it has no dark colours
    return False


def _mac_is_dark(root: tk.Misc) -> bool:
    try:
        return bool(
            root.tk.getboolean(root.tk.call("::tk::unsupported::MacWindowStyle", "isdark", "."))
        )
    except tk.TclError:
        return False


def _desktop_is_dark() -> bool:
    if os.environ.get("GTK_THEME", "").endswith(":dark"):
        return True
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    signs = (
        ("gtk-4.0/settings.ini", b"gtk-application-prefer-dark-theme=1"),
        ("gtk-3.0/settings.ini", b"gtk-application-prefer-dark-theme=1"),
        ("kdeglobals", b"ColorScheme=BreezeDark"),
        ("dconf/user", b"prefer-dark"),  # GNOME's database: read as bytes, it names its values
    )
    return any(_holds(os.path.join(home, name), sign) for name, sign in signs)


def _holds(path: str, sign: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return sign in file.read(MOST_OF_A_SETTINGS_FILE).replace(b" ", b"")
    except OSError:
        return False
