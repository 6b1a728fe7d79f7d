"""What the window remembers from one time to the next: a small file that can be lost."""

from __future__ import annotations

from typing import Any, NamedTuple

MOST_BYTES = 64 << 10
MOST_ADDRESSES = 8
NAME = "window.json"


class Memory(NamedTuple):
    """Size and place, folders, addresses, the model chosen last; `seen` once lmboot was used.

    `container`: programs are to run in one.
    """

    geometry: str = ""
    folder: str = ""
    model: str = ""
    addresses: tuple[str, ...] = ()
    seen: bool = False
    container: bool = False


def load(file: str) -> Memory:
    """Return what a file remembers; what is damaged of it is forgotten."""
    try:
        with open(file, "rb") as stream:
            data = stream.read(MOST_BYTES)
    except OSError:
        return Memory()
    import json  # only now: the first time there is no such file

    try:
        return _memory(json.loads(data))
    except (ValueError, RecursionError, AttributeError):
        return Memory()


def _memory(found: Any) -> Memory:
    texts = {name: found.get(name) for name in ("geometry", "folder", "model")}
    addresses = found.get("addresses")
    kept = filter(_is_text, addresses if isinstance(addresses, list) else ())
    return Memory(
        addresses=tuple(kept)[:MOST_ADDRESSES],
        seen=found.get("seen") is True,
        container=found.get("container") is True,
        **{name: text for name, text in texts.items() if _is_text(text)},
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) < 4096 and value.replace("\n", "").isprintable()


def dump(memory: Memory) -> str:
    """Return what `load` reads."""
    import json

    return json.dumps(memory._asdict(), indent=1) + "\n"


def with_address(memory: Memory, address: str) -> Memory:
    """Put an address before the others."""
    others = [each for each in memory.addresses if each != address]
    return memory._replace(addresses=(address, *others)[:MOST_ADDRESSES])


def fitting(geometry: str, wide: int, high: int) -> str:
    """Return a geometry that lies on a screen of this size; "" if it does not."""
    size, _, place = geometry.partition("+")
    try:
        width, height = map(int, size.split("x"))
        left, top = map(int, place.split("+"))
    except ValueError:
        return ""
    inside = 0 <= left < wide - 100 and 0 <= top < high - 100
    fits = inside and 0 < width <= wide and 0 < height <= high
    return f"{width}x{height}+{left}+{top}" if fits else ""
