"""The user's settings: one TOML file, every key optional. A file with errors is set aside.

warm = true                  # read the primer into a loaded model's cache ahead of time
trigger = "### GO ###"       # a trigger of your own, beside the built-in ones
passphrase = "..."           # only a trigger followed by these words starts a bootstrap
context = 8192               # tokens that lmboot's own engine loads a .gguf with
container_image = "python"   # one of yours, for podman or docker; else your own /usr

[limits]                     # ceilings for every runtime; they can only be lowered
memory_mb = 256

[routes]                     # the most that any runtime may have, whatever it asks for
fetch = "DENY"               # "EMULATE": never by this machine; "ASK", which holds for all that is
fs.write_text = "HOST"       # left out: as far as you grant it, and you are asked; "HOST": the
                             # same, but nobody is asked: what was not granted is refused

[window]
theme = "system"             # or "dark", "light"
scale = 1.5                  # of everything, 0.8 to 3; the display's own when left out
zoom = 1.0                   # of the texts, 0.8 to 2.5
scrollback = 10000           # lines kept in a session, 1000 to 50000
remember_input = true        # what was typed comes back with Up in the next session
server = "localhost:1234"    # tried before any other
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lmboot.errors import FileUnreadable, UsageFault
from lmboot.runtime.policy import Limits, Rule, lowered, nothing_by_host
from lmboot.text import brief

if TYPE_CHECKING:
    from lmboot.settings_shape import File

Theme = Literal["system", "dark", "light"]

_NOTHING_BY_HOST = "what it denies is not known, so this machine does nothing for a runtime"
_UNCHANGED = "The settings stay as they were."


@dataclass(frozen=True, slots=True)
class WindowSettings:
    """How the window looks and what it keeps; scale None is the display's, no server: look."""

    theme: Theme = "system"
    scale: float | None = None
    zoom: float = 1.0
    scrollback: int = 10_000
    remember_input: bool = True
    server: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings in force; `complaint` is what to tell the user once, None when all is well.

    `routes` is the policy: what it says of operations, "ASK" of those that it leaves out.
    """

    warm: bool = True
    trigger: str | None = None
    passphrase: str | None = None
    context: int = 8192
    limits: Limits = field(default_factory=Limits)
    window: WindowSettings = field(default_factory=WindowSettings)
    complaint: str | None = None
    container_image: str | None = None
    routes: Mapping[str, Rule] = field(default_factory=dict)

    def by_name(self) -> dict[str, Any]:
        """Return what is in force by the names that `save` takes."""
        every = asdict(self)
        return {
            name: every[table][key] if table else every[key]
            for name in NAMES
            for table, _, key in [name.rpartition(".")]
        }

    def is_trigger(self, text: str, known: tuple[str, ...]) -> bool:
        """Say whether a text is exactly a trigger, the passphrase behind it where one is set."""
        triggers = (*known, self.trigger) if self.trigger else known
        ending = f" {self.passphrase}" if self.passphrase else ""
        return text in [f"{trigger}{ending}" for trigger in triggers]


_TABLES: dict[str, type] = {"": Settings, "limits.": Limits, "window.": WindowSettings}
NAMES = frozenset(  # of every setting that can be saved: "context", "window.theme"
    f"{table}{each.name}" for table, kind in _TABLES.items() for each in fields(kind)
) - {"complaint", "limits", "routes", "window"}


def load(file: Path) -> Settings:
    """Return the settings of a file. One with errors is renamed to `.bad`; defaults hold then.

    What it said of limits and routes holds on, in a new file. Of one that can't be read nobody
    knows what it says: this machine performs nothing for a runtime then.
    """
    try:
        text = file.read_text("utf-8")
        return _in_force(file, _parse(text))
    except FileNotFoundError:
        return Settings()
    except OSError as error:
        return _closed(f"{file} can't be read ({error.strerror}); defaults are used")
    except UnicodeDecodeError as error:
        return _set_aside(file, error, error.object.decode("utf-8", "replace"))
    except ValueError as error:
        return _set_aside(file, error, text)


def _in_force(file: Path, read: File) -> Settings:
    limits, too_high = lowered(Limits(), read.limits.model_dump(exclude_unset=True))
    names = ", ".join(too_high)
    complaint = f"{file}: limits can only be lowered; not taken: {names}" if too_high else None
    window = WindowSettings(**read.window.model_dump())
    return Settings(
        read.warm,
        read.trigger,
        read.passphrase,
        read.context,
        limits,
        window,
        complaint,
        read.container_image,
        read.routes,
    )


def _parse(text: str) -> File:
    from lmboot.settings_shape import parse  # here, because most people have no such file

    return parse(text)


def save(file: Path | str, changes: Mapping[str, Any]) -> None:
    """Write changed settings by their names, None for "as if it were not there"; atomically.

    Comments and all other keys stay. UsageFault where a value is not allowed or the file can't be
    written, FileUnreadable where it can't be read or has an error; nothing was written then.
    """
    if unknown := sorted(set(changes) - NAMES):
        raise UsageFault(f"there is no setting {brief(unknown[0], 60)}", hint=_UNCHANGED)
    before = _text_of(Path(file))
    after = _edited(before, changes)
    _check(after, changes)
    if after != before:
        _write(Path(file), after)


def _text_of(file: Path) -> str:
    """Return what a file holds: what can be loaded, or nothing when there is none."""
    try:
        text = file.read_text("utf-8")
        _parse(text)
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise FileUnreadable(
            f"{file} can't be read ({error.strerror})", hint=_UNCHANGED
        ) from error
    except ValueError as error:
        message = f"{file} has an error: {brief(str(error), 120)}"
        raise FileUnreadable(message, hint="Correct it, or remove it, and save again.") from error
    return text


def _edited(text: str, changes: Mapping[str, Any]) -> str:
    import tomlkit  # here, because only saving needs it

    document = tomlkit.parse(text)
    for name, value in changes.items():
        table, _, key = name.rpartition(".")
        if table and table not in document and value is not None:
            document[table] = tomlkit.table()
        place: Any = document.get(table, {}) if table else document
        if value is None:
            place.pop(key, None)
        else:
            place[key] = value
    return tomlkit.dumps(document)


def _check(text: str, changes: Mapping[str, Any]) -> None:
    """Refuse what `load` would not take, in the very words that would be written."""
    try:
        read = _parse(text)
    except ValueError as error:
        raise _refusal(error, changes) from error
    wishes = read.limits.model_dump(exclude_unset=True)
    _, too_high = lowered(Limits(), {k: v for k, v in wishes.items() if f"limits.{k}" in changes})
    for name in too_high:
        most = getattr(Limits(), name)
        message = f"limits.{name} can't be {wishes[name]:g}: it can only be lowered"
        raise UsageFault(message, hint=f"At most {most:g} is allowed. {_UNCHANGED}")


def _refusal(error: ValueError, changes: Mapping[str, Any]) -> UsageFault:
    name, _, why = str(error).partition(": ")
    if name not in changes:
        return UsageFault(f"these settings are not allowed: {error}", hint=_UNCHANGED)
    value = brief(str(changes[name]), 60)
    return UsageFault(f"{name} can't be {value}: {why[:1].lower()}{why[1:]}", hint=_UNCHANGED)


def _write(file: Path, text: str) -> None:
    """Put a text in a file's place, readable by the user alone; a link stays a link."""
    target, passing = Path(os.path.realpath(file)), ""
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, passing = tempfile.mkstemp(prefix=".settings-", dir=target.parent)  # mode 0600
        with open(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(passing, target)
    except OSError as error:
        with suppress(OSError):
            os.unlink(passing)
        message = f"{file} can't be written ({error.strerror})"
        raise UsageFault(message, hint=_UNCHANGED) from error


def _set_aside(file: Path, error: ValueError, text: str) -> Settings:
    """Rename a file with errors; what bounds runtimes takes its place, or it stays there."""
    import tomlkit

    from lmboot.settings_shape import ceilings

    bad, kept = file.with_name(file.name + ".bad"), ceilings(text)
    mended = f"# what {bad.name} says of limits and routes\n\n{tomlkit.dumps(kept)}"
    wrong = f"{file} has an error: {brief(str(error), 120)}"
    try:
        file.replace(bad)
        if kept:
            _write(file, mended)
    except (OSError, UsageFault):
        with suppress(OSError):
            bad.replace(file)
        return _closed(f"{wrong}; it was left where it is and defaults are used")
    aside = f"it was renamed to {bad.name} and defaults are used"
    if kept.get("routes") == nothing_by_host():
        aside += f"; {_NOTHING_BY_HOST}"
    return replace(_in_force(file, _parse(mended)), complaint=f"{wrong}; {aside}")


def _closed(complaint: str) -> Settings:
    return Settings(complaint=f"{complaint}; {_NOTHING_BY_HOST}", routes=nothing_by_host())
