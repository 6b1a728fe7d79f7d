"""Small pictures, drawn as PNG at any scale: nothing is shipped, nothing gets blurred; pure."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import cache
from itertools import pairwise

Point = tuple[float, float]


def mix(front: str, back: str, share: float) -> str:
    """Return the colour that lies `share` (0 to 1) of the way from back to front."""
    pairs = zip(bytes.fromhex(front[1:]), bytes.fromhex(back[1:]), strict=True)
    return "#" + bytes(round(b + (f - b) * share) for f, b in pairs).hex()


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2 defines it: 1 to 21."""
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def readable(colour: str, *, on: str, towards: str, least: float = 4.5) -> str:
    """Return the colour, moved towards another one until it can be read on a background."""
    for step in range(11):
        found = mix(towards, colour, step / 10)
        if contrast(found, on) >= least:
            return found
    return towards


def _luminance(colour: str) -> float:
    parts = [value / 255 for value in bytes.fromhex(colour[1:])]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def png(rows: Sequence[bytes]) -> bytes:
    """Return rows of RGBA pixels as a PNG. Tk honours the alpha, so edges suit any colour."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")
        )

    size = (len(rows[0]) // 4).to_bytes(4, "big") + len(rows).to_bytes(4, "big")
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows), 0)
    head = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size + b"\x08\x06\0\0\0")
    return head + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def rounded(
    fill: str | None, edge: str | None, *, radius: float, width: float, core: tuple[int, int]
) -> bytes:
    """Return a rounded rectangle to be stretched: one corner is computed, the rest mirrored.

    All lengths are pixels; `core` is the part between the corners, across and down. A missing
    fill or edge stays transparent.
    """
    face, rim = (
        bytes.fromhex((colour or fill or edge or "#000000")[1:]) for colour in (fill, edge)
    )
    inks: dict[tuple[float, float], bytes] = {}

    def ink(cover: tuple[float, float]) -> bytes:
        if cover not in inks:
            outer, inner = cover
            alpha = outer if fill else outer - inner if edge else 0.0
            mixed = [round(b + (f - b) * inner) for f, b in zip(face, rim, strict=True)]
            inks[cover] = bytes([*(mixed if fill else rim), round(alpha * 255)])
        return inks[cover]

    rows = []
    covers = _corner(radius, max(1.0, width) if edge else 0.0)
    reach = len(covers) - 1
    across, down = core
    for row in covers if down else covers[:-1]:
        *cells, middle = map(ink, row)
        rows.append(b"".join(cells) + middle * across + b"".join(reversed(cells)))
    return png(rows[:reach] + rows[reach:] * down + rows[:reach][::-1])


@cache
def _corner(radius: float, line: float) -> list[list[tuple[float, float]]]:
    """Return how much of each pixel of a corner lies inside the edge and inside its line.

    The last row and column are those of the middle, where nothing is round.
    """
    reach = int(radius + 0.999)
    gaps = [max(0.0, radius - at - 0.5) for at in range(reach + 1)]
    depths = [[radius - (x * x + y * y) ** 0.5 for x in gaps] for y in gaps]
    return [[(_clip(depth + 0.5), _clip(depth - line + 0.5)) for depth in row] for row in depths]


def strokes(
    colour: str, points: Sequence[Point], *, size: float, width: float, scale: float
) -> bytes:
    """Return a line through `points` on a square of `size`, all given for scale 1."""
    ink = bytes.fromhex(colour[1:])
    side = round(size * scale)

    def pixel(x: int, y: int) -> bytes:
        at = (x + 0.5) / scale, (y + 0.5) / scale
        nearest = min(_distance(at, a, b) for a, b in pairwise(points))
        return ink + bytes([round(255 * _clip((width / 2 - nearest) * scale + 0.5))])

    return png([b"".join(pixel(x, y) for x in range(side)) for y in range(side)])


def blank(bands: Sequence[tuple[str | None, int]], *, width: int) -> bytes:
    """Return horizontal bands (colour or None for clear, height), one above the other."""
    rows: list[bytes] = []
    for colour, height in bands:
        cell = bytes.fromhex(colour[1:] + "ff") if colour else bytes(4)
        rows += [cell * width] * height
    return png(rows)


def _distance(at: Point, start: Point, end: Point) -> float:
    (x, y), (ax, ay), (bx, by) = at, start, end
    length = (bx - ax) ** 2 + (by - ay) ** 2
    along = _clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length)
    gap_x, gap_y = x - ax - along * (bx - ax), y - ay - along * (by - ay)
    return float((gap_x * gap_x + gap_y * gap_y) ** 0.5)


def _clip(value: float) -> float:
    return 0.0 if value < 0 else 1.0 if value > 1 else value
