"""What the window remembers from one time to the next: a small file that can be lost."""

from __future__ import annotations

from typing import Any, NamedTuple

MOST_BYTES = 64 << 10
MOST_ADDRESSES = 8
NAME = "window.json"


class Memory(NamedTuple):
    """Size and place, folders, addresses, the model chosen last; `seen` once lmboot was used."""

    geometry: str = ""
    folder: str = ""
    model: str = ""
    addresses: tuple[str, ...] = ()
    seen: bool = False


def load(file: str) -> Memory:
    """Return what a file remembers; a damaged one remembers nothing."""
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
    texts = {name: found.get(name, "") for name in ("geometry", "folder", "model")}
    addresses = found.get("addresses", [])
    if not isinstance(addresses, list) or not all(_is_text(each) for each in addresses):
        addresses = []
    if not all(_is_text(each) for each in texts.values()):
        return Memory()
    kept = tuple(addresses[:MOST_ADDRESSES])
    return Memory(addresses=kept, seen=found.get("seen") is True, **texts)


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
    inside = left + 100 < wide and top + 100 < high and left >= 0 and top >= 0
    return geometry if inside and width <= wide and height <= high else ""
