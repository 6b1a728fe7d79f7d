"""Where a desktop's servers listen: X11, Wayland, D-Bus; pure.

An address is a path, or `@` and a name without one (an abstract socket).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

DISPLAYS = "/tmp/.X11-unix"  # noqa: S108 (X11's own folder, whoever made it)
SYSTEM_BUS = "/run/dbus/system_bus_socket"
_KEYS = {"path": "", "abstract": "@"}


def addresses(environment: Mapping[str, str], displays: Iterable[str]) -> tuple[str, ...]:
    """Return where this user's desktop may be; `displays` are the names in DISPLAYS.

    As programs find it: by the environment, and by what is usual where that says nothing.
    """
    folder = environment.get("XDG_RUNTIME_DIR", "")
    shown = environment.get("WAYLAND_DISPLAY") or "wayland-0"
    found = [f"{folder}/bus", f"{folder}/{shown}"] if folder else []
    if shown.startswith("/"):
        found.append(shown)
    found += [SYSTEM_BUS, *_buses(environment.get("DBUS_SESSION_BUS_ADDRESS", ""))]
    sockets = [f"{DISPLAYS}/{name}" for name in displays] or [f"{DISPLAYS}/X0"]
    return tuple(dict.fromkeys([*found, *sockets, *(f"@{path}" for path in sockets)]))


def _buses(given: str) -> list[str]:
    """Return the sockets of `unix:path=/run/user/1000/bus,guid=...;unix:abstract=...`."""
    found = []
    for bus in given.split(";"):
        kind, _, pairs = bus.partition(":")
        for pair in pairs.split(",") if kind == "unix" else ():
            key, _, value = pair.partition("=")
            if key in _KEYS and value.isprintable():
                found.append(_KEYS[key] + value)
    return found


def like(environment: Mapping[str, str], word: str) -> tuple[str, ...]:
    """Return addresses beside those of a desktop, which none has; `word` is nobody else's."""
    folder = environment.get("XDG_RUNTIME_DIR", "")
    beside = [f"{folder}/lmboot-probe-{word}"] if folder.startswith("/") else []
    return (*beside, f"{DISPLAYS}/lmboot-probe-{word}", f"@{DISPLAYS}/lmboot-probe-{word}")


def unwritten(address: str) -> str:
    """Return an address as the system takes it."""
    return "\0" + address[1:] if address.startswith("@") else address
