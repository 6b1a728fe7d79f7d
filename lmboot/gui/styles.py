"""What each ttk widget looks like: `build` makes elements and layouts, `colour` fills them.

A picture of an element keeps its name when the palette changes, so only styles are set again.
"""

from __future__ import annotations

import tkinter as tk
from functools import partial
from tkinter import ttk
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lmboot.gui.look import Look

RADIUS, CARD, RING = 6, 8, 2
# What a picture has between its corners, across and down. To fill a surface Tk repeats it, which
# costs a round trip to the display each time; but it has to be made before the window is there.
CORE, LARGE = (72, 24), (64, 64)
CELL, TKS_OWN = 6, 4  # beside a cell's text at scale 1; what Tk keeps there at any scale
ROUTES = {"EMULATE": "accent", "HOST": "warn", "DENY": "bad"}
SEGMENTS = {**ROUTES, "Choice": "accent"}  # a style of radio buttons: its colour
KINDS: dict[str, tuple[str | None, str, str, str | None, str]] = {
    # kind: normal, hover, pressed, edge, text
    "Accent": ("fill", "fill_hover", "fill:85:main", None, "on_fill"),
    "Plain": ("raised", "hover", "line", "edge", "text"),
    "Danger": ("raised", "bad:12:raised", "bad:22:raised", "edge", "bad"),
    "Ghost": (None, "hover", "line", None, "muted"),
}
CARDS = {
    "PanelCard": ("panel", "line"),
    "RaisedCard": ("raised", "edge"),
    "MainCard": ("main", "line"),
}
SURFACES = ("main", "panel", "raised")
POPDOWN = {  # the list of a combobox is Tk's own, which no style reaches: option, colour
    "background": "raised",
    "foreground": "text",
    "selectBackground": "select",
    "selectForeground": "text",
}
TRACK = "edge:40:panel"

Node = tuple[str, Any]


def build(look: Look) -> None:
    """Make every element and layout of the theme in use."""
    for part in (_frames, _buttons, _segments, _fields, _lists, _tabs, _bars):
        part(look)


def colour(look: Look) -> None:
    """Set every style's colours, fonts and lengths from the look."""
    buttons = (_button_styles, _segment_styles, _check_styles)
    for part in (_base, _on_surfaces, *buttons, _list_styles, _tab_styles):
        part(look)


def node(name: str, *children: Node, **options: object) -> Node:
    """Return one node of a layout that fills its parcel."""
    return name, {
        "sticky": "nsew",
        **options,
        **({"children": list(children)} if children else {}),
    }


def _element(
    look: Look, name: str, pictures: object, *, inset: float = RADIUS, least: float = 8
) -> None:
    """Create an image element; without a size of its own its picture's would be the minimum."""
    side, border = look.px(least), look.px(inset) + 1
    look.root.tk.call(
        *("ttk::style", "element", "create", name, "image", pictures),
        *("-border", border, "-padding", 0, "-sticky", "nsew", "-width", side, "-height", side),
    )


def _states(first: tk.PhotoImage, *others: tuple[object, ...]) -> tuple[object, ...]:
    """Return an image specification for Tcl: a picture, then (states, picture) pairs."""
    flat: list[object] = [first]
    for *states, image in others:
        flat += [tuple(states), image]
    return tuple(flat)


def _layout(look: Look, name: str, *nodes: Node) -> None:
    look.style.layout(name, list(nodes))


def _frames(look: Look) -> None:
    for card, (fill, edge) in CARDS.items():
        _element(look, f"{card}.bg", look.shape(fill, edge, radius=CARD, core=LARGE), inset=CARD)
        _layout(look, f"{card}.TFrame", node(f"{card}.bg"))
    _element(look, "Track.bg", look.shape(TRACK))
    _layout(look, "Track.TFrame", node("Track.bg"))


def _buttons(look: Look) -> None:
    later = partial(look.shape, later=True)
    for kind, (normal, hover, pressed, edge, _) in KINDS.items():
        ring = "text" if kind == "Accent" else "accent"
        pictures = _states(
            look.shape(normal, edge),
            ("disabled", look.shape(TRACK if normal else None)),
            ("pressed", later(pressed, edge)),
            ("selected", "focus", later(pressed, ring, width=RING)),
            ("selected", later(pressed, "edge")),  # a button that stays down
            ("focus", later(normal, ring, width=RING)),
            ("active", later(hover, edge)),
        )
        _element(look, f"{kind}.bg", pictures)
        label = node("Button.padding", node("Button.label", sticky=""))
        _layout(look, f"{kind}.TButton", node(f"{kind}.bg", label))


def _segments(look: Look) -> None:
    later = partial(look.shape, later=True)
    for word, role in SEGMENTS.items():
        chosen, track = f"{role}:16:raised", later(TRACK)
        pictures = _states(
            track,
            ("selected", "focus", later(chosen, role, radius=5, width=RING)),
            ("selected", later(chosen, f"{role}:60:raised", radius=5)),
            ("focus", later(TRACK, "accent", radius=5, width=RING)),
            ("active", "!disabled", later("hover", radius=5)),
        )
        _element(look, f"{word}.bg", pictures)
        label = node("Radiobutton.padding", node("Radiobutton.label", sticky=""))
        _layout(look, f"{word}.TRadiobutton", node(f"{word}.bg", label))


def checks(look: Look) -> None:
    """Make what check buttons are drawn with, once; the first sight of the window has none."""
    if "Check.box" in look.style.element_names():
        return

    def box(fill: str, edge: str | None = None, width: float = 1.0) -> tk.PhotoImage:
        return look.shape(fill, edge, radius=4, width=width, core=(10, 10))

    pictures = (
        ("disabled", box(TRACK)),
        ("selected", "focus", box("fill", "text", RING)),
        ("selected", "active", box("fill_hover")),
        ("selected", box("fill")),
        ("focus", box("raised", "accent", RING)),
        ("active", box("hover", "edge")),
    )
    ticks = ("disabled", "selected", look.check("faint")), ("selected", look.check("on_fill"))
    blank, gap = look.bands((None, 12), width=12), look.bands((None, 1), width=8)
    look.style.element_create("Check.box", "image", box("raised", "edge"), *pictures, sticky="")
    look.style.element_create("Check.tick", "image", blank, *ticks, sticky="")
    look.style.element_create("Check.gap", "image", gap, sticky="")
    mark = node("Check.box", node("Check.tick", sticky=""), side="left", sticky="")
    words = node("Checkbutton.label", side="left", sticky="w")
    inside = mark, node("Check.gap", side="left"), words
    _layout(look, "TCheckbutton", node("Checkbutton.padding", *inside))


def _fields(look: Look) -> None:
    ring = look.shape("raised", "accent", width=RING, later=True)
    bad = look.shape("raised", "bad", width=RING, later=True)
    pictures = _states(look.shape("raised", "edge"), ("invalid", bad), ("focus", ring))
    _element(look, "Field.bg", pictures)
    chevron = look.strokes("muted", (2.5, 4.5), (6, 8), (9.5, 4.5))
    look.style.element_create("Chevron.downarrow", "image", chevron, sticky="")
    arrow = node("Chevron.downarrow", side="right", sticky="")
    for kind, extra in (("Entry", ()), ("Combobox", (arrow,))):
        inside = node(f"{kind}.padding", *extra, node(f"{kind}.textarea"))
        _layout(look, f"T{kind}", node("Field.bg", inside))


def _lists(look: Look) -> None:
    ring = look.shape(None, "accent:45:panel", later=True)  # the row in it has the strong one
    _element(look, "Tree.ring", _states(look.nothing(), ("focus", ring)))
    _layout(
        look, "Treeview", node("Tree.ring", node("Treeview.padding", node("Treeview.treearea")))
    )
    later = partial(look.shape, later=True)
    row = _states(  # a row has the state "focus" only while the list has the keyboard
        look.nothing(),
        ("selected", "focus", later("select", "accent", width=1.5)),
        ("selected", later("select")),
        ("focus", later(None, "accent", width=1.5)),
    )
    _element(look, "Treerow.bg", row)
    _layout(look, "Treeview.Row", node("Treerow.bg"))
    image = node("Treeitem.image", side="left", sticky="")
    words = node("Treeitem.text", side="left", sticky="")
    _layout(look, "Treeview.Item", node("Treeitem.padding", image, words))
    title = node("Treeheading.text", sticky="we")
    _layout(look, "Treeview.Heading", node("Treeheading.padding", title))


def _tabs(look: Look) -> None:
    rest, chosen = look.bands((None, 10), (None, 2)), look.bands((None, 10), ("accent", 2))
    look.style.element_create(
        *("Tab.bg", "image", rest, ("selected", chosen)),
        border=(0, 0, 0, look.px(2)),
        sticky="nsew",
    )
    ring = look.shape(None, "accent", width=RING, later=True)
    _element(look, "Tab.ring", _states(look.nothing(), ("focus", ring)))
    _element(look, "Flat.client", look.nothing())  # clam's own client keeps 2 px for a relief
    _layout(look, "TNotebook", node("Flat.client"))
    label = node("Notebook.padding", node("Notebook.label", sticky=""))
    _layout(look, "TNotebook.Tab", node("Tab.bg", node("Tab.ring", label)))


def _bars(look: Look) -> None:
    thumb, hover = (look.shape(name, radius=4, core=(16, 64)) for name in ("edge", "faint"))
    _element(look, "Slim.thumb", _states(thumb, ("active", hover), ("pressed", hover)), inset=4)
    for way, side in (("Vertical", "ns"), ("Horizontal", "we")):
        bar = node("Slim.thumb", expand=True)
        _layout(look, f"{way}.TScrollbar", node(f"{way}.Scrollbar.trough", bar, sticky=side))
    for part, name in (("trough", "line"), ("pbar", "fill")):
        _element(look, f"Pill.{part}", look.shape(name, radius=2, core=(64, 32)), inset=2, least=4)
    bar = node("Pill.pbar", side="left", sticky="ns")
    _layout(look, "Horizontal.TProgressbar", node("Pill.trough", bar))


def _base(look: Look) -> None:
    look.style.configure(
        ".",
        background=look["main"],
        foreground=look["text"],
        font="Text",
        borderwidth=0,
        relief="flat",
        selectbackground=look["fill"],
        selectforeground=look["on_fill"],
        insertcolor=look["accent"],
        insertwidth=look.px(2),
    )
    look.style.configure("Line.TFrame", background=look["line"])
    look.style.configure("TScrollbar", troughcolor=look["main"], bordercolor=look["main"])
    look.style.configure("TPanedwindow", background=look["main"])
    look.style.configure("Sash", sashthickness=look.px(4), gripcount=0)
    look.style.configure(
        "ComboboxPopdownFrame", relief="solid", borderwidth=1, bordercolor=look["edge"]
    )
    for option, name in POPDOWN.items():  # of lists that are still to be made
        look.root.option_add(f"*TCombobox*Listbox.{option}", look[name])
    flat = {"font": "Text", "relief": "flat", "borderWidth": look.px(4), "highlightThickness": 0}
    for option, value in flat.items():
        look.root.option_add(f"*TCombobox*Listbox.{option}", value)


def popdown(look: Look, box: ttk.Combobox) -> None:
    """Give a box's list its colours again; one that was never opened has none yet."""
    call = look.root.tk.call
    if int(call("winfo", "exists", f"{box}.popdown")):
        window = call("ttk::combobox::PopdownWindow", box)
        options = [(f"-{option.lower()}", look[name]) for option, name in POPDOWN.items()]
        call(f"{window}.f.l", "configure", *sum(options, ()))


def _on_surfaces(look: Look) -> None:
    """A card's own background is what its clear corners stand on."""
    for surface in SURFACES:
        for kind in ("TFrame", *(f"{card}.TFrame" for card in CARDS), "Track.TFrame"):
            look.style.configure(f"{surface}.{kind}", background=look[surface])
        for kind in ("TEntry", "TCombobox"):
            look.style.configure(
                f"{surface}.{kind}",
                background=look[surface],
                foreground=look["text"],
                padding=look.pads(9, 6),
            )
        look.style.configure(
            f"{surface}.Vertical.TScrollbar", troughcolor=look[surface], bordercolor=look[surface]
        )
    for kind in ("TEntry", "TCombobox"):
        look.style.map(kind, foreground=[("disabled", look["faint"])])
    look.style.map(  # what can only be chosen is not marked like what was typed
        "TCombobox",
        selectbackground=[("readonly", look["raised"])],
        selectforeground=[("readonly", look["text"])],
    )


def _button_styles(look: Look) -> None:
    for kind, (normal, *_, text) in KINDS.items():
        hover = look[text] if normal else look["text"]
        for surface in SURFACES:
            look.style.configure(
                f"{surface}.{kind}.TButton",
                background=look[surface],
                foreground=look[text],
                padding=look.pads(13, 6),
                font="Strong" if kind == "Accent" else "Text",
            )
        chosen = ("selected", look["accent" if normal is None else text])
        colours = [("disabled", look["faint"]), chosen, ("active", hover)]
        look.style.map(f"{kind}.TButton", foreground=colours)


def _segment_styles(look: Look) -> None:
    for word, role in SEGMENTS.items():
        name = f"{word}.TRadiobutton"
        look.style.configure(
            name,
            font="Caption" if word in ROUTES else "Text",
            foreground=look["muted"],
            background=look[TRACK],
            padding=look.pads(8 if word in ROUTES else 12, 4),
        )
        pale = look["faint:60:panel"]  # what cannot be chosen is pale on purpose
        colours = [("selected", look[role]), ("disabled", pale), ("readonly", pale)]
        look.style.map(name, foreground=colours)


def _check_styles(look: Look) -> None:
    for surface in SURFACES:
        look.style.configure(
            f"{surface}.TCheckbutton",
            background=look[surface],
            foreground=look["text"],
            padding=look.pads(0, 6, 0, 3),
        )
    look.style.map("TCheckbutton", foreground=[("disabled", look["faint"])])


def _list_styles(look: Look) -> None:
    for surface in SURFACES:
        look.style.configure(
            f"{surface}.Treeview",
            background=look[surface],
            fieldbackground=look[surface],
            foreground=look["text"],
            rowheight=look.linespace + look.px(12),
            indent=look.px(14),
            padding=look.px(2),
        )
        side = look.px(CELL)
        look.style.configure(f"{surface}.Treeview.Item", padding=(side, 0, 0, 0))
        look.style.configure(f"{surface}.Treeview.Cell", padding=(side - TKS_OWN, 0))
        look.style.configure(
            f"{surface}.Treeview.Heading",
            background=look[surface],
            foreground=look["faint"],
            font="Small",
            padding=(side, look.px(4)),
        )
        look.style.map(f"{surface}.Treeview.Heading", foreground=[("active", look["text"])])


def _tab_styles(look: Look) -> None:
    look.style.configure("TNotebook", tabmargins=look.pads(16, 2, 0, 0), background=look["main"])
    look.style.configure(
        "TNotebook.Tab",
        padding=look.pads(12, 7, 12, 9),
        foreground=look["muted"],
        background=look["main"],
    )
    chosen = [("selected", look["text"]), ("active", look["text"])]
    look.style.map("TNotebook.Tab", foreground=chosen)
