"""Pictures of the real program in every state that can be held.

With LMBOOT_PICTURES=FOLDER they are kept there, to be looked at, and taken in the dark, too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.gui.desktop import SCREEN, Desktop
from tests.gui.tour import TITLES, Tour, identified

# A tour takes half a minute: the longer run, of the hostile tests, has the time.
pytestmark = [
    *(pytest.mark.attack, pytest.mark.sandbox, pytest.mark.engine),
    pytest.mark.timeout(300),
]

LOOKS = {  # theme, scale, the screen
    "light": ("light", None, SCREEN),
    "light-2": ("light", 2.0, "2600x1900x24"),
}
if "LMBOOT_PICTURES" in os.environ:
    LOOKS["dark"] = ("dark", None, SCREEN)
STALLED_IN = "light"  # its 15 seconds are waited for only once
COLOURS = 60  # a window without its texts has fewer


@pytest.fixture(scope="module", params=LOOKS)
def tour(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Tour]:
    """One program that goes through all states; the tests look at what it left."""
    theme, scale, screen = LOOKS[request.param]
    folder = tmp_path_factory.mktemp("desktop")
    kept = os.environ.get("LMBOOT_PICTURES")
    pictures = Path(kept) / request.param if kept else folder / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    with Desktop(folder, screen=screen) as desktop:
        desktop.write_settings(theme=theme)
        tour = Tour(desktop, pictures, scale)
        tour.whole(stalled=request.param == STALLED_IN)
        yield tour
        assert desktop.living() == []


@pytest.mark.parametrize("name", [name for name in TITLES if name != "stalled"])
def test_a_state_can_be_seen(tour: Tour, name: str) -> None:
    seen(tour, name)


@pytest.mark.parametrize("tour", [STALLED_IN], indirect=True)
def test_a_reply_that_stalls_can_be_seen(tour: Tour) -> None:
    seen(tour, "stalled")


def seen(tour: Tour, name: str) -> None:
    assert tour.titles[name] == TITLES[name]
    assert int(identified(tour.picture(name), "%k")) > COLOURS
