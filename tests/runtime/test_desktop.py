"""Where a desktop's servers listen, as programs find it."""

from __future__ import annotations

import pytest

from lmboot.runtime.desktop import addresses, like, unwritten


@pytest.mark.parametrize(
    ("environment", "displays", "expected"),
    [
        (
            {},
            [],
            ["/run/dbus/system_bus_socket", "/tmp/.X11-unix/X0", "@/tmp/.X11-unix/X0"],
        ),
        (
            {"XDG_RUNTIME_DIR": "/run/user/7", "WAYLAND_DISPLAY": "wayland-3"},
            ["X4"],
            [
                *("/run/user/7/bus", "/run/user/7/wayland-3", "/run/dbus/system_bus_socket"),
                *("/tmp/.X11-unix/X4", "@/tmp/.X11-unix/X4"),
            ],
        ),
        (
            {
                "WAYLAND_DISPLAY": "/run/wl",
                "DBUS_SESSION_BUS_ADDRESS": "unix:abstract=/tmp/dbus-q,guid=1;unix:path=/b;tcp:x",
            },
            ["X1"],
            [
                *("/run/wl", "/run/dbus/system_bus_socket", "@/tmp/dbus-q", "/b"),
                *("/tmp/.X11-unix/X1", "@/tmp/.X11-unix/X1"),
            ],
        ),
    ],
)
def test_a_desktop_is_looked_for_where_programs_find_it(
    environment: dict[str, str], displays: list[str], expected: list[str]
) -> None:
    assert list(addresses(environment, displays)) == expected


def test_what_is_laid_out_lies_beside_it_and_can_t_be_mistaken_for_it() -> None:
    given = {"XDG_RUNTIME_DIR": "/run/user/7"}
    laid_out = like(given, "word")

    assert laid_out[0] == "/run/user/7/lmboot-probe-word"
    assert not set(laid_out) & set(addresses(given, ["X0", "X1"]))
    assert like({"XDG_RUNTIME_DIR": "relative"}, "word") == laid_out[1:]


def test_an_address_without_a_path_begins_with_a_nul_for_the_system() -> None:
    assert unwritten("@/tmp/.X11-unix/X0") == "\0/tmp/.X11-unix/X0"
    assert unwritten("/run/user/7/bus") == "/run/user/7/bus"
