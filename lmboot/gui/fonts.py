"""The window's fonts and its scale: every family, size and factor comes from here."""

from __future__ import annotations

import os
import tkinter as tk

UI_FAMILIES = (
    "Inter",
    "Segoe UI Variable Text",
    "Segoe UI",
    "SF Pro Text",
    "Cantarell",
    "Noto Sans",
    "DejaVu Sans",
)
MONO_FAMILIES = (
    "JetBrains Mono",
    "Cascadia Mono",
    "SF Mono",
    "Menlo",
    "Consolas",
    "DejaVu Sans Mono",
)
STEPS = {  # name: (pixels more than the base at scale 1, weight)
    "Text": (0, "normal"),
    "Small": (-1, "normal"),
    "Caption": (-1, "bold"),
    "Strong": (0, "bold"),
    "Title": (8, "bold"),
    "Mono": (0, "normal"),
    "MonoStrong": (0, "bold"),
    "MonoSmall": (-1, "normal"),
    "TkDefaultFont": (0, "normal"),
    "TkMenuFont": (0, "normal"),
}
LEAST_SCALE, MOST_SCALE = 0.8, 3.0
LEAST_ZOOM, MOST_ZOOM = 0.8, 2.5
USUAL_DPI = 96


def scale_of(root: tk.Misc, wanted: float | None = None) -> float:
    """Return the factor for every length: what is wanted, LMBOOT_SCALE, the display's, else 1.

    What is not a number or outside 0.8 to 3 is passed over; a display's factor is kept inside.
    """
    for value in (wanted, _number(os.environ.get("LMBOOT_SCALE", ""))):
        if value is not None and LEAST_SCALE <= value <= MOST_SCALE:
            return value
    return min(max(round(_display_scale(root) * 8) / 8, 1.0), MOST_SCALE)  # eighths stay sharp


def _display_scale(root: tk.Misc) -> float:
    """Return the display's own factor; macOS scales by itself. Windows was not tried."""
    system = root.tk.call("tk", "windowingsystem")
    if system == "x11":
        return (_xft_dpi(root) or USUAL_DPI) / USUAL_DPI
    return root.winfo_fpixels("1i") / USUAL_DPI if system == "win32" else 1.0


def _xft_dpi(root: tk.Misc) -> float | None:
    """Return what the desktop set. A screen's millimetres are not asked: they are often made up.

    Tk 8.6 knows only resources of its own class, so `xrdb` is asked, through Tcl: no import.
    """
    try:
        resources = str(root.tk.call("exec", "xrdb", "-query"))
    except tk.TclError:
        return None
    found = [
        line.partition(":")[2] for line in resources.splitlines() if line.startswith("Xft.dpi")
    ]
    return _number(found[0]) if found else None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def make_fonts(root: tk.Misc, scale: float) -> None:
    """Create the named fonts, or set them again when they are there.

    Sizes are pixels, so that `tk scaling` cannot apply the scale twice.
    """
    families = {"ui": _first(root, UI_FAMILIES), "mono": _first(root, MONO_FAMILIES)}
    there = set(root.tk.splitlist(root.tk.call("font", "names")))
    for name, (_, weight) in STEPS.items():
        family = families["mono" if name.startswith("Mono") else "ui"]
        options = ("-family", family, "-weight", weight)
        root.tk.call("font", "configure" if name in there else "create", name, *options)
    zoom(root, scale, 1.0)


def zoom(root: tk.Misc, scale: float, factor: float) -> float:
    """Make every font `factor` times its size, kept within 0.8 and 2.5; return what it is now."""
    factor = min(max(factor, LEAST_ZOOM), MOST_ZOOM)
    base = _base_size(root)
    for name, (step, _) in STEPS.items():
        size = -round((base + step) * scale * factor)
        root.tk.call("font", "configure", name, "-size", size)
    return factor


def linespace(root: tk.Misc, font: str = "Text") -> int:
    """Return how many pixels a line of text is high."""
    return int(root.tk.call("font", "metrics", font, "-linespace"))


def ascent(root: tk.Misc, font: str) -> int:
    """Return how many pixels a line of text reaches above its baseline."""
    return int(root.tk.call("font", "metrics", font, "-ascent"))


def _base_size(root: tk.Misc) -> int:
    """Return the system's text size in pixels at scale 1, kept in what the layout was made for.

    It is asked of a font that lmboot leaves alone.
    """
    size = int(root.tk.call("font", "configure", "TkTextFont", "-size"))
    return min(max(-size if size < 0 else round(size * USUAL_DPI / 72), 12), 13)


def _first(root: tk.Misc, families: tuple[str, ...]) -> str:
    """Return the first family that is installed; asking one by one is cheaper than the list."""
    for family in families:
        found = root.tk.call("font", "actual", (family, -13), "-family")
        if str(found).casefold() == family.casefold():
            return family
    return families[-1]
