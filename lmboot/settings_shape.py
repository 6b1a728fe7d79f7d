"""The shape of the settings file: which keys it may have, and which values.

Apart from `settings`, since most people have no such file, and to import this takes longer than
all else that the window's model list needs.
"""

from __future__ import annotations

import tomllib
from contextlib import suppress
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
)

from lmboot.connections.addresses import normalise_base
from lmboot.errors import UsageFault
from lmboot.runtime.policy import ALIASES, OPERATIONS, RULES, Rule, nothing_by_host
from lmboot.text import brief


def _address(text: str) -> str:
    try:
        return normalise_base(text)
    except UsageFault as error:
        raise ValueError(str(error)) from error


def _routes(table: object) -> object:
    """Return rules by operations: to TOML, `fs.list` is a `list` in a table `fs`.

    A short name counts as the operation that it stands for, and not beside that.
    """
    if not isinstance(table, dict):
        return table
    flat: dict[object, object] = {}
    for name, rule in table.items():
        below = rule if isinstance(rule, dict) else {}
        for key, said in [(f"{name}.{key}", it) for key, it in below.items()] or [(name, rule)]:
            op = ALIASES.get(key, key)
            if op not in OPERATIONS:
                raise ValueError(f"there is no operation {brief(str(op), 60)!r}")
            if said not in RULES:
                raise ValueError(f"{op} is one of {', '.join(RULES)}")
            if op in flat:
                raise ValueError(f"{op} is there twice")
            flat[op] = said
    return flat


_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\n\r]+$")]
_Image = Annotated[str, Field(max_length=200, pattern=r"^[A-Za-z0-9][A-Za-z0-9./:@_-]*$")]
_Routes = Annotated[dict[str, Rule], BeforeValidator(_routes)]
_Address = Annotated[_Line, AfterValidator(_address)]


class Limits(BaseModel):
    """The table `[limits]`; 0 where nothing is said."""

    model_config = ConfigDict(extra="forbid", strict=True)
    memory_mb: _Positive = 0
    cpu_seconds: _Positive = 0
    wall_seconds: _Positive = 0
    processes: _Positive = 0
    output_mb: _Positive = 0
    disk_mb: _Positive = 0


class Window(BaseModel):
    """The table `[window]`."""

    model_config = ConfigDict(extra="forbid", strict=True)
    theme: Literal["system", "dark", "light"] = "system"
    scale: Annotated[float, Field(ge=0.8, le=3)] | None = None
    zoom: Annotated[float, Field(ge=0.8, le=2.5)] = 1.0
    scrollback: Annotated[int, Field(ge=1000, le=50_000)] = 10_000
    remember_input: bool = True
    server: _Address | None = None


class File(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", strict=True)
    warm: bool = True
    trigger: _Line | None = None
    passphrase: _Line | None = None
    context: Annotated[int, Field(ge=512, le=1 << 20)] = 8192
    container_image: _Image | None = None
    limits: Limits = Limits()
    routes: _Routes = {}
    window: Window = Window()


def parse(text: str) -> File:
    """Return what a file says; ValueError, with a sentence for people, where that can't be."""
    try:
        return File.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, RecursionError, ValidationError) as error:
        raise ValueError(_sentence(error)) from error


def ceilings(text: str) -> dict[str, Any]:
    """Return the tables of a file with errors that bound runtimes, without what says nothing.

    They outlive a slip in the rest of it, each if it is right by itself. Routes that can't be read
    may have denied anything: in their place stands that this machine performs nothing.
    """
    try:
        found = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        found = {"routes": None} if "routes" in text else {}
    kept: dict[str, Any] = {"routes": nothing_by_host()} if "routes" in found else {}
    for table in found.keys() & {"limits", "routes"}:
        with suppress(ValidationError):
            right = File.model_validate({table: found[table]})
            kept |= right.model_dump(include={table}, exclude_unset=True)
    return kept


def _sentence(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return brief(str(error), 120)
    first: Any = error.errors(include_url=False)[0]
    name, why = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return brief(f"{name}: {why}", 120)
