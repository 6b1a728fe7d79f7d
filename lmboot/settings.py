"""The user's settings: one TOML file, every key optional. A file with errors is set aside.

warm = true                  # read the primer into a loaded model's cache ahead of time
trigger = "### GO ###"       # a trigger of your own, beside the built-in ones
passphrase = "..."           # only a trigger followed by these words starts a bootstrap
context = 8192               # tokens that lmboot's own engine loads a .gguf with

[limits]                     # ceilings for every runtime; they can only be lowered
memory_mb = 256
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmboot.runtime.policy import Limits, lowered
from lmboot.text import brief

_Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
_Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\n\r]+$")]


class _Limits(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    memory_mb: _Positive = 0
    cpu_seconds: _Positive = 0
    wall_seconds: _Positive = 0
    processes: _Positive = 0
    output_mb: _Positive = 0
    disk_mb: _Positive = 0


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    warm: bool = True
    trigger: _Line | None = None
    passphrase: _Line | None = None
    context: Annotated[int, Field(ge=512, le=1 << 20)] = 8192
    limits: _Limits = _Limits()


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force; `complaint` is what to tell the user once, None when all is well."""

    warm: bool = True
    trigger: str | None = None
    passphrase: str | None = None
    context: int = 8192
    limits: Limits = field(default_factory=Limits)
    complaint: str | None = None

    def is_trigger(self, text: str, known: tuple[str, ...]) -> bool:
        """Say whether a text is exactly a trigger, the passphrase behind it where one is set."""
        triggers = (*known, self.trigger) if self.trigger else known
        ending = f" {self.passphrase}" if self.passphrase else ""
        return text in [f"{trigger}{ending}" for trigger in triggers]


def load(file: Path) -> Settings:
    """Return the settings of a file. One with errors is renamed to `.bad`; defaults hold then."""
    try:
        read = _File.model_validate(tomllib.loads(file.read_text("utf-8")))
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        return Settings(complaint=f"{file} can't be read ({error.strerror}); defaults are used")
    except (ValidationError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return Settings(complaint=_set_aside(file, error))
    limits, too_high = lowered(Limits(), read.limits.model_dump(exclude_unset=True))
    names = ", ".join(too_high)
    complaint = f"{file}: limits can only be lowered; not taken: {names}" if too_high else None
    return Settings(read.warm, read.trigger, read.passphrase, read.context, limits, complaint)


def _set_aside(file: Path, error: Exception) -> str:
    bad = file.with_name(file.name + ".bad")
    try:
        file.replace(bad)
        kept = f"it was renamed to {bad.name}"
    except OSError:
        kept = "it was left where it is"
    return f"{file} has an error: {_sentence(error)}; {kept} and defaults are used"


def _sentence(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return brief(str(error), 120)
    first: Any = error.errors(include_url=False)[0]
    return brief(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 120)
