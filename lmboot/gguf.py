"""The header of a GGUF file: what model it is, and whether it is whole; tensors are never read.

Everything in the file is a stranger's: each length is held against the end of the file before
anything is allocated, and whatever is wrong becomes a FileUnreadable that says so in a sentence.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from lmboot.errors import FileUnreadable
from lmboot.text import brief

Scalar = str | int | float | bool

MAX_KEYS = 65_536
MAX_TENSORS = 100_000  # the largest models have a few thousand
MAX_HEADER_BYTES = 256 << 20  # a vocabulary of 260,000 words with its merges takes 20 MB
MAX_KEY_BYTES = 65_535  # the specification's
MAX_KEPT_BYTES = 2 << 20  # of keys and texts together; longer texts are passed over

_WINDOW = 1 << 20
_DEFAULT_ALIGNMENT = 32
_MAX_DIMENSIONS = 4
_MAX_ELEMENTS = 1 << 62
_STRING, _ARRAY, _BOOL, _ALIGNMENT_TYPE = 8, 9, 7, 4
_LENGTH = struct.Struct("<Q")
_NUMBERS: Final = {
    code: struct.Struct("<" + letter)
    for code, letter in {
        0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d",
    }.items()
}  # fmt: skip

# general.file_type -> the name that people know it by.
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M",
    30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE", 39: "NVFP4",
    40: "Q1_0",
}  # fmt: skip
_GUESSED_FILE_TYPE = 1024  # a flag: the converter was not told but looked


class _TensorType(NamedTuple):
    name: str
    block_elements: int
    block_bytes: int


_TENSOR_TYPES: Final = {
    0: _TensorType("F32", 1, 4),
    1: _TensorType("F16", 1, 2),
    2: _TensorType("Q4_0", 32, 18),
    3: _TensorType("Q4_1", 32, 20),
    6: _TensorType("Q5_0", 32, 22),
    7: _TensorType("Q5_1", 32, 24),
    8: _TensorType("Q8_0", 32, 34),
    9: _TensorType("Q8_1", 32, 40),
    10: _TensorType("Q2_K", 256, 84),
    11: _TensorType("Q3_K", 256, 110),
    12: _TensorType("Q4_K", 256, 144),
    13: _TensorType("Q5_K", 256, 176),
    14: _TensorType("Q6_K", 256, 210),
    15: _TensorType("Q8_K", 256, 292),
    16: _TensorType("IQ2_XXS", 256, 66),
    17: _TensorType("IQ2_XS", 256, 74),
    18: _TensorType("IQ3_XXS", 256, 98),
    19: _TensorType("IQ1_S", 256, 50),
    20: _TensorType("IQ4_NL", 32, 18),
    21: _TensorType("IQ3_S", 256, 110),
    22: _TensorType("IQ2_S", 256, 82),
    23: _TensorType("IQ4_XS", 256, 136),
    24: _TensorType("I8", 1, 1),
    25: _TensorType("I16", 1, 2),
    26: _TensorType("I32", 1, 4),
    27: _TensorType("I64", 1, 8),
    28: _TensorType("F64", 1, 8),
    29: _TensorType("IQ1_M", 256, 56),
    30: _TensorType("BF16", 1, 2),
    34: _TensorType("TQ1_0", 256, 54),
    35: _TensorType("TQ2_0", 256, 66),
    39: _TensorType("MXFP4", 32, 17),
    40: _TensorType("NVFP4", 64, 36),
    41: _TensorType("Q1_0", 128, 18),
}

_AGAIN = "Download or copy it again."
_CHOOSE = "Choose a language model's .gguf file."
_PROJECTOR = (
    "is the part that lets a model see or hear, not a model",
    "Choose the .gguf beside it whose name does not begin with mmproj.",
)
# What general.type or general.architecture say of files that can't be talked to.
_NOT_MODELS: Final = {
    "adapter": (
        "is an adapter (LoRA), which changes a model but is none",
        "Choose the .gguf of the model that it was made for.",
    ),
    "mmproj": _PROJECTOR,
    "clip": _PROJECTOR,
    "imatrix": ("holds measurements for quantising a model, not a model", _CHOOSE),
    "controlvector": ("is a control vector, which steers a model but is none", _CHOOSE),
}
_EMBEDDERS: Final = frozenset({
    "bert", "modern-bert", "neo-bert", "eurobert", "nomic-bert", "nomic-bert-moe", "jina-bert-v2",
    "jina-bert-v3", "gemma-embedding", "t5encoder",
})  # fmt: skip
# Other files that are taken for models, by their first bytes.
_FOREIGN: Final = (
    (
        rb"version https://git-lfs",
        "is a Git LFS pointer, a few lines of text that stand for the model",
        "Run `git lfs pull` in its folder, or download the file itself.",
    ),
    (
        rb"(?is)\s*<(?:!doctype|html|\?xml)",
        "is a web page, saved under a model's name",
        "Download it again, with the direct link to the file.",
    ),
    (
        rb"(?s).{5}\0\0\0\{",
        "looks like a safetensors file; llama.cpp reads GGUF only",
        "Look for a GGUF version of this model, or convert it with llama.cpp's scripts.",
    ),
    (
        rb"PK\x03\x04|PK\x05\x06",
        "is a zip archive (PyTorch's .pt and .bin files are such); llama.cpp reads GGUF only",
        "Unpack it if there is a .gguf inside, else look for a GGUF version of this model.",
    ),
    (
        rb"\x1f\x8b|\x28\xb5\x2f\xfd|\xfd7zXZ|7z\xbc\xaf|BZh|Rar!",
        "is a compressed archive",
        "Unpack it and choose the .gguf inside.",
    ),
    (
        rb"lmgg|fmgg|tjgg|algg",
        "is in a format from before GGUF, which llama.cpp no longer reads",
        "Look for a GGUF version of this model.",
    ),
)
_PART_NAME = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Header:
    """What a model file says of itself; None where it does not say.

    `parameters`, `size_bytes` and `parts` cover all files of a split model. `metadata` holds
    numbers and texts, not arrays, and no text that would make it larger than a few MB.
    """

    version: int
    architecture: str
    name: str | None
    quantization: str | None
    context_length: int | None
    block_count: int | None
    parameters: int
    has_chat_template: bool
    size_bytes: int
    parts: int = 1
    metadata: Mapping[str, Scalar] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class _Tensors:
    """The sum over a file's tensor list; `data_bytes` is where the last one ends."""

    data_bytes: int = 0
    elements: dict[int, int] = field(default_factory=dict)

    def add(self, kind: int, elements: int, end: int) -> None:
        self.data_bytes = max(self.data_bytes, end)
        self.elements[kind] = self.elements.get(kind, 0) + elements


@dataclass(slots=True)
class _Part:
    """One file, parsed and whole, whatever it is for."""

    version: int
    size_bytes: int
    metadata: dict[str, Scalar]
    has_chat_template: bool
    tensors: _Tensors


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read and check the header of a language model; raise FileUnreadable for anything else.

    A split model is named by its first part, and all its parts are checked. Only the header is
    read, so a file of any size is answered at once.
    """
    file_name = os.fspath(path)
    first = _read_part(file_name)
    other_names = _other_parts(file_name, first)
    _check_is_model(file_name, first)
    return _header([first, *(_read_part(other) for other in other_names)])


def _header(parts: list[_Part]) -> Header:
    first = parts[0]
    values = first.metadata
    architecture = str(values["general.architecture"])
    return Header(
        version=first.version,
        architecture=brief(architecture, 60),
        name=_text(values.get("general.name")),
        quantization=_quantization(first),
        context_length=_count(values.get(f"{architecture}.context_length")),
        block_count=_count(values.get(f"{architecture}.block_count")),
        parameters=sum(sum(part.tensors.elements.values()) for part in parts),
        has_chat_template=first.has_chat_template,
        size_bytes=sum(part.size_bytes for part in parts),
        parts=len(parts),
        metadata=MappingProxyType(values),
    )


def _text(value: Scalar | None) -> str | None:
    return brief(value) or None if isinstance(value, str) else None


def _count(value: Scalar | None) -> int | None:
    return value if isinstance(value, int) and value is not True and value > 0 else None


def _quantization(part: _Part) -> str | None:
    """Return the file's own word for it, else the type that most of its weights have."""
    kind = part.metadata.get("general.file_type")
    if isinstance(kind, int) and (known := _FILE_TYPES.get(kind & ~_GUESSED_FILE_TYPE)):
        return known
    elements = part.tensors.elements
    commonest = max(elements, key=elements.__getitem__, default=-1)
    return _TENSOR_TYPES[commonest].name if commonest in _TENSOR_TYPES else None


def _check_is_model(path: str, part: _Part) -> None:
    """Refuse the well-formed GGUF files that hold something else than a language model."""
    architecture = part.metadata.get("general.architecture")
    for role in (part.metadata.get("general.type"), architecture):
        if isinstance(role, str) and role in _NOT_MODELS:
            raise _refusal(path, *_NOT_MODELS[role])
    if architecture in _EMBEDDERS:
        raise _refusal(path, "is an embedding model: it compares texts but writes none", _CHOOSE)
    if not isinstance(architecture, str) or not architecture:
        raise _refusal(path, "does not say which architecture its model has", _CHOOSE)
    if not part.tensors.elements:
        raise _refusal(path, "holds a vocabulary but no model", _CHOOSE)


def _other_parts(path: str, part: _Part) -> list[str]:
    """Return the files that belong to the first part of a split model; none if it is not split."""
    count = _count(part.metadata.get("split.count")) or 1
    if count == 1:
        return []
    name = _PART_NAME.fullmatch(path)
    number = (_count(part.metadata.get("split.no")) or 0) + 1
    if name is None or int(name["count"]) != count or int(name["number"]) != number:
        raise _refusal(
            path,
            f"is part {number} of {count} of a split model, under another name",
            f"Give it back the name that ends in -{number:05}-of-{count:05}.gguf.",
        )
    names = [f"{name['stem']}-{each:05}-of-{count:05}.gguf" for each in range(1, count + 1)]
    if number > 1:
        raise _refusal(
            path, f"is part {number} of {count} of a split model", f"Choose {brief(names[0])}."
        )
    for other in names:
        if not os.path.exists(other):
            raise _refusal(
                path,
                f"is a split model, and of its {count} parts {brief(Path(other).name)} is missing",
                "Download all parts into one folder.",
            )
    return names[1:]


def _refusal(path: str, what: str, hint: str) -> FileUnreadable:
    return FileUnreadable(f"{brief(path)} {what}.", hint=hint)


def _read_part(path: str) -> _Part:
    try:
        descriptor = _open(path)
        try:
            return _Reader(descriptor, path).part()
        finally:
            os.close(descriptor)
    except (OSError, ValueError) as exc:  # ValueError: a NUL in the name
        raise _unreadable(path, exc) from exc


def _open(path: str) -> int:
    """Open without waiting (for a pipe's other end) and without leaving it open to children."""
    flags = os.O_RDONLY
    for extra in ("O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY"):  # each absent somewhere
        flags |= getattr(os, extra, 0)
    return os.open(path, flags)


def _unreadable(path: str, exc: OSError | ValueError) -> FileUnreadable:
    if isinstance(exc, FileNotFoundError):
        return _refusal(path, "does not exist", "Check the name and the folder.")
    if os.path.isdir(path):  # Windows does not open one
        return _refusal(path, "is a folder", "Choose the .gguf file inside it.")
    if isinstance(exc, PermissionError):
        return _refusal(path, "may not be read by you", "Change its permissions, or copy it.")
    reason = brief(getattr(exc, "strerror", None) or str(exc))
    return _refusal(path, f"can't be read: {reason}", "Check the name and the disk.")


class _Reader:
    """Walks through one open file, with one window of it in memory."""

    def __init__(self, descriptor: int, path: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._size = self._checked_size()
        self._position = 0
        self._window = b""
        self._window_start = 0
        self._kept_bytes = 0

    def part(self) -> _Part:
        """Read all of the header."""
        version, tensor_count, key_count = self._opening()
        metadata, has_template, alignment = self._metadata(key_count)
        tensors = self._tensors(tensor_count, alignment)
        self._check_whole(tensors, alignment)
        return _Part(version, self._size, metadata, has_template, tensors)

    def _checked_size(self) -> int:
        state = os.fstat(self._descriptor)
        if stat.S_ISDIR(state.st_mode):
            raise self._refusal("is a folder", "Choose the .gguf file inside it.")
        if not stat.S_ISREG(state.st_mode):
            raise self._refusal("is a device, pipe or socket, not a file", _CHOOSE)
        if state.st_size == 0:
            raise self._refusal("is empty", _AGAIN)
        return state.st_size

    def _opening(self) -> tuple[int, int, int]:
        """Return the version and the numbers of tensors and keys."""
        start = self._peek(512)
        if not start.startswith(b"GGUF"):
            raise self._not_gguf(start)
        self._skip(4)
        version = self._number(4)
        if version & 0xFFFF == 0 and version:
            raise self._refusal(
                "was written for big-endian machines", "Look for the usual, little-endian file."
            )
        if version not in (2, 3):
            raise self._refusal(
                f"has version {version} of the GGUF format; this program reads 2 and 3",
                "Look for a newer file of this model."
                if version < 2
                else "Update lmboot, or look for another file of this model.",
            )
        tensor_count, key_count = self._number(10), self._number(10)
        if key_count > MAX_KEYS or tensor_count > MAX_TENSORS:
            raise self._damaged("its lists are longer than any model's")
        return version, tensor_count, key_count

    def _not_gguf(self, start: bytes) -> FileUnreadable:
        for pattern, what, hint in _FOREIGN:
            if re.match(pattern, start):
                return self._refusal(what, hint)
        if b"GGUF".startswith(start):
            return self._truncated()
        return self._refusal("is not a GGUF file: it begins with other bytes", _CHOOSE)

    def _metadata(self, key_count: int) -> tuple[dict[str, Scalar], bool, int]:
        """Return the values worth keeping, whether there is a chat template, and the alignment."""
        seen: set[str] = set()
        kept: dict[str, Scalar] = {}
        alignment = _DEFAULT_ALIGNMENT
        for _ in range(key_count):
            key = self._key()
            if key in seen:
                raise self._damaged(f"it has the key {brief(key, 80)!r} twice")
            seen.add(key)
            kind = self._number(4)
            value = self._value(kind)
            if value is not None:
                kept[key] = value
            if key == "general.alignment":
                alignment = self._alignment(kind, value)
        return kept, "tokenizer.chat_template" in seen, alignment

    def _key(self) -> str:
        length = self._number(10)
        if length > MAX_KEY_BYTES or self._kept_bytes + length > MAX_KEPT_BYTES:
            raise self._damaged("its keys are longer than any model's")
        self._kept_bytes += length
        try:
            return self._take(length).decode()
        except UnicodeDecodeError:
            raise self._damaged("one of its keys is not text") from None

    def _value(self, kind: int) -> Scalar | None:
        """Read one value; None for what is passed over."""
        if kind == _STRING:
            return self._kept_text()
        if kind == _ARRAY:
            self._skip_array()
            return None
        if kind in _NUMBERS:
            number: int | float | bool = _NUMBERS[kind].unpack(self._take(_NUMBERS[kind].size))[0]
            return number
        raise self._damaged(f"it has a value of the unknown type {kind}")

    def _kept_text(self) -> str | None:
        length = self._number(10)
        if self._kept_bytes + length > MAX_KEPT_BYTES:
            self._skip(length)
            return None
        self._kept_bytes += length
        return self._take(length).decode(errors="replace")

    def _skip_array(self) -> None:
        kind, count = self._number(4), self._number(10)
        if kind == _STRING:
            self._skip_strings(count)
        elif kind in _NUMBERS:
            self._skip(count * _NUMBERS[kind].size)
        else:  # llama.cpp refuses arrays of arrays too
            raise self._damaged(f"it has an array of the unusual type {kind}")

    def _skip_strings(self, count: int) -> None:
        """Pass over as many strings: the one long loop here, hundreds of thousands in a file."""
        self._require(count * _LENGTH.size)
        unpack, eight = _LENGTH.unpack_from, _LENGTH.size
        while count:
            self._load(eight)
            window, place = self._window, self._position - self._window_start
            last = len(window) - eight
            while count and place <= last:
                place += eight + unpack(window, place)[0]
                count -= 1
            self._skip(place + self._window_start - self._position)

    def _alignment(self, kind: int, value: Scalar | None) -> int:
        if kind != _ALIGNMENT_TYPE or not isinstance(value, int) or value.bit_count() != 1:
            raise self._damaged("its alignment is not a power of two")
        return value

    def _tensors(self, count: int, alignment: int) -> _Tensors:
        tensors = _Tensors()
        for _ in range(count):
            self._skip(self._number(10))
            dimensions = self._number(4)
            if dimensions > _MAX_DIMENSIONS:
                raise self._damaged("a tensor has more dimensions than there are")
            *shape, kind, offset = struct.unpack(
                f"<{dimensions}QIQ", self._take(8 * dimensions + 12)
            )
            elements, byte_count = self._tensor_size(shape, kind)
            if offset % alignment:
                raise self._damaged("a tensor is out of place")
            tensors.add(kind, elements, offset + byte_count)
        return tensors

    def _tensor_size(self, shape: list[int], kind: int) -> tuple[int, int]:
        """Return elements and bytes; no bytes for a type that is newer than this program."""
        elements = 1
        for length in shape:
            elements *= length
        if elements > _MAX_ELEMENTS:
            raise self._damaged("a tensor is larger than any disk")
        known = _TENSOR_TYPES.get(kind)
        if known is None:
            return elements, 0
        if (shape[0] if shape else 1) % known.block_elements:
            raise self._damaged("a tensor's rows don't fit its type")
        return elements, elements // known.block_elements * known.block_bytes

    def _check_whole(self, tensors: _Tensors, alignment: int) -> None:
        start = -(-self._position // alignment) * alignment
        missing = start + tensors.data_bytes - self._size
        if tensors.data_bytes and missing > 0:
            raise self._refusal(f"is truncated: the file ends {missing:,} bytes early", _AGAIN)

    def _number(self, kind: int) -> int:
        number: int = _NUMBERS[kind].unpack(self._take(_NUMBERS[kind].size))[0]
        return number

    def _take(self, count: int) -> bytes:
        """Return the next bytes, all of them."""
        self._load(count)
        place = self._position - self._window_start
        self._position += count
        return self._window[place : place + count]

    def _peek(self, count: int) -> bytes:
        """Return the next bytes, fewer where the file ends."""
        self._load(min(count, self._size - self._position))
        return self._window[:count]

    def _skip(self, count: int) -> None:
        self._require(count)
        self._position += count

    def _require(self, count: int) -> None:
        """Refuse to go on when the file, or any sensible header, ends before."""
        if count > self._size - self._position:
            raise self._truncated()
        if self._position + count > MAX_HEADER_BYTES:
            raise self._damaged("its header is larger than any model's")

    def _load(self, count: int) -> None:
        """Make the next bytes part of the window."""
        self._require(count)
        place = self._position - self._window_start
        if 0 <= place <= len(self._window) - count:
            return
        os.lseek(self._descriptor, self._position, os.SEEK_SET)
        chunks, wanted = [], max(count, min(_WINDOW, self._size - self._position))
        while wanted and (chunk := os.read(self._descriptor, wanted)):
            chunks.append(chunk)
            wanted -= len(chunk)
        self._window, self._window_start = b"".join(chunks), self._position
        if len(self._window) < count:
            raise self._truncated()  # it became shorter since it was opened

    def _truncated(self) -> FileUnreadable:
        return self._refusal("is truncated: the file ends inside its header", _AGAIN)

    def _damaged(self, what: str) -> FileUnreadable:
        return self._refusal(f"is damaged: {what}", _AGAIN)

    def _refusal(self, what: str, hint: str) -> FileUnreadable:
        return _refusal(self._path, what, hint)
