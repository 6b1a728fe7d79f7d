"""What a payload is: the schema for what a model wrote, the rules on it, and the checked value.

`judge_object` takes the decoded JSON of one candidate and returns either a `Payload`, a plain
value that needs no rules any more, or the complete list of problems. Codes and bounds are those
of the contract; every problem carries a code, a place and a sentence.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lmboot.bootstrap.entrypoint import entrypoint_problem, split_entrypoint
from lmboot.paths import collisions, problem_with
from lmboot.runtime.policy import Limits, Route, effective_routes, lowered
from lmboot.runtime.properties import SandboxLevel
from lmboot.strictjson import Float, Problem, Repair, where
from lmboot.text import ZWJ, ZWNJ, brief

MAX_REPLY_BYTES = 16 << 20
MAX_FILES = 256
MAX_FILE_BYTES = 4 << 20
MAX_NAME = 100

_OPERATION = re.compile(r"[a-z][a-z0-9_.]{0,63}\Z")
_STRICT = ConfigDict(extra="forbid", strict=True, frozen=True)
_LOOSE = ConfigDict(extra="ignore", strict=True, frozen=True)
_TYPES = {
    "string_type": "text",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "list_type": "a list",
    "bool_type": "true or false",
    "int_type": "a whole number",
}
_Positive = Annotated[float, Field(gt=0)]


class _File(BaseModel):
    model_config = _STRICT
    path: str
    content: str


class _Limits(BaseModel):
    model_config = _STRICT
    memory_mb: _Positive = 0
    cpu_seconds: _Positive = 0
    wall_seconds: _Positive = 0
    processes: _Positive = 0
    output_mb: _Positive = 0
    disk_mb: _Positive = 0


class _Manifest(BaseModel):
    model_config = _LOOSE
    name: str = ""
    runtime_name: str = ""
    version: str = ""
    routes: dict[str, Literal["EMULATE", "HOST", "DENY"]] = {}
    allowed_ops: list[str] = []
    permissions: list[str] = []
    requires_broker: bool = False
    sandbox_level: SandboxLevel = "low"
    limits: _Limits = _Limits()
    max_depth: Annotated[int, Field(ge=0)] = 1


class _Payload(BaseModel):
    model_config = _LOOSE
    manifest: _Manifest
    files: list[_File]
    entrypoint: str


@dataclass(frozen=True)
class Payload:
    """A payload that passed every rule.

    `manifest` is the normalised one: `name` always, else only what was given; `files` are
    (path, content) in the model's order; `argv` is the file to run, then its arguments.
    """

    manifest: Mapping[str, Any]
    files: tuple[tuple[str, str], ...]
    entrypoint: str
    argv: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the runtime's name."""
        return str(self.manifest["name"])

    @property
    def routes(self) -> dict[str, Route]:
        """Return the effective route of every known operation, before policy and live setting."""
        given = self.manifest
        return effective_routes(
            given.get("routes"),
            given.get("allowed_ops"),
            given.get("permissions"),
            max_depth=given.get("max_depth", 1),
        )

    @property
    def sandbox_level(self) -> SandboxLevel | None:
        """Return what it asks of its sandbox; None: nothing beyond what is always required."""
        level: SandboxLevel | None = self.manifest.get("sandbox_level")
        return level

    @property
    def requires_broker(self) -> bool:
        """Say whether it is not to be started where no operation could be performed for it."""
        return bool(self.manifest.get("requires_broker", False))

    def limits_within(self, policy: Limits) -> Limits:
        """Return the limits to run with: the manifest's wishes where they are lower."""
        return lowered(policy, self.manifest.get("limits", {}))[0]

    def normalised(self) -> dict[str, Any]:
        """Return the JSON form that is shown, kept and hashed."""
        files = [{"path": path, "content": content} for path, content in self.files]
        return {"manifest": dict(self.manifest), "files": files, "entrypoint": self.entrypoint}

    @cached_property
    def sha256(self) -> str:
        """Return the SHA-256 of the normalised form: sorted keys, no spaces."""
        text = json.dumps(self.normalised(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def summary(self) -> str:
        """Return the line that names this payload: short hash, files, command."""
        count = f"{len(self.files)} file{'s' * (len(self.files) != 1)}"
        return f"payload {self.sha256[:12]}… accepted: {count}, {brief(self.entrypoint)}"


@dataclass(slots=True)
class Judged:
    """One candidate, judged: a payload when `problems` is empty."""

    payload: Payload | None
    problems: list[Problem]
    repairs: list[Repair]
    notes: list[Problem]


def judge_object(value: dict[str, Any], limits: Limits | None = None) -> Judged:
    """Judge one decoded object against schema and rules; `limits` are the policy's."""
    manifest = value.get("manifest")
    repairs = list(_number_as_text(manifest)) if isinstance(manifest, dict) else []
    notes = list(_unknown_keys(value))
    problems: list[Problem] = []
    try:
        read = _Payload.model_validate(value)
    except ValidationError as error:
        problems = [_problem(each) for each in error.errors(include_url=False)]
    problems += _rules(value, {problem.where for problem in problems})
    if problems:
        return Judged(None, problems, repairs, notes)
    payload, too_high = _payload(read, limits or Limits())
    notes += [
        Problem("limit", f"manifest.limits.{name}", "it is above the policy's limit, which holds")
        for name in too_high
    ]
    return Judged(payload, [], repairs, notes)


def _number_as_text(manifest: dict[str, Any]) -> Iterator[Repair]:
    version = manifest.get("version")
    if isinstance(version, int | float) and not isinstance(version, bool):
        manifest["version"] = version.text if isinstance(version, Float) else str(version)
        yield Repair("number_as_text", "manifest.version")


def _unknown_keys(value: dict[str, Any]) -> Iterator[Problem]:
    manifest = value.get("manifest")
    known = [((), value, _Payload)]
    if isinstance(manifest, dict):
        known.append((("manifest",), manifest, _Manifest))  # type: ignore[arg-type]  # one more level
    for path, members, model in known:
        for key in members:
            if key not in model.model_fields:
                yield Problem("unknown_key", where([*path, key]), "lmboot does not know this key")


def _payload(read: _Payload, limits: Limits) -> tuple[Payload, list[str]]:
    given = read.manifest.model_dump(exclude_unset=True)
    given["name"] = given.get("name", given.pop("runtime_name", None))
    given.pop("runtime_name", None)
    granted, too_high = lowered(limits, given.get("limits", {}))
    for name in too_high:
        given["limits"][name] = getattr(granted, name)
    files = tuple((file.path, file.content) for file in read.files)
    return Payload(given, files, read.entrypoint, split_entrypoint(read.entrypoint)), too_high


def _problem(error: Any) -> Problem:
    """Turn one of pydantic's errors into a problem of the contract."""
    path = [part for part in error["loc"] if part != "[key]"]
    place = where(path)
    if place.startswith("manifest.routes."):
        return Problem("route", place, "a route is exactly EMULATE, HOST or DENY")
    if place.startswith("manifest.limits."):
        known = error["type"] != "extra_forbidden"
        sentence = "a limit is a positive number" if known else "there is no limit of this name"
        return Problem("limit", place, sentence)
    if error["type"] == "missing":
        return Problem("missing", place, "it is required")
    if error["type"] == "extra_forbidden":
        return Problem("unknown_key", place, "a file has exactly path and content")
    if place == "manifest.max_depth" and error["type"] == "greater_than_equal":
        return Problem("limit", place, "it can't be negative")
    expected = error.get("ctx", {}).get("expected") or _TYPES.get(error["type"], "of another type")
    return Problem("type", place, f"it must be {expected}")


def _rules(value: dict[str, Any], known: set[str]) -> list[Problem]:
    """Return what the schema can't say, for every part whose type is right."""
    manifest, files, entrypoint = (value.get(key) for key in ("manifest", "files", "entrypoint"))
    found: list[Problem] = []
    if isinstance(manifest, dict):
        found += _manifest_rules(manifest)
    paths: list[str] = []
    if isinstance(files, list):
        found += _file_rules(files)
        paths = [
            file["path"] for file in files if isinstance(file, dict) and _is_text(file, "path")
        ]
    if isinstance(entrypoint, str) and (sentence := entrypoint_problem(entrypoint, paths)):
        found.append(Problem("entrypoint", "entrypoint", sentence))
    return [problem for problem in found if problem.where not in known]


def _is_text(members: dict[str, Any], key: str) -> bool:
    return isinstance(members.get(key), str)


def _manifest_rules(manifest: dict[str, Any]) -> Iterator[Problem]:
    if "name" not in manifest and "runtime_name" not in manifest:
        yield Problem("missing", "manifest.name", "a manifest needs a name")
    counts = "name" if "name" in manifest else "runtime_name"
    if _is_text(manifest, counts) and not _is_name(manifest[counts]):
        sentence = f"a name is printable text of 1 to {MAX_NAME} characters"
        yield Problem("text", f"manifest.{counts}", sentence)
    routes = manifest.get("routes")
    for name in routes if isinstance(routes, dict) else ():
        if not _OPERATION.match(name):
            yield Problem("route", where(["manifest", "routes", name]), _operation_sentence(name))
    for key in ("allowed_ops", "permissions"):
        listed = manifest.get(key)
        for index, name in enumerate(listed if isinstance(listed, list) else ()):
            if isinstance(name, str) and not _OPERATION.match(name):
                yield Problem("route", f"manifest.{key}[{index}]", _operation_sentence(name))


def _operation_sentence(name: str) -> str:
    return f"{brief(name, 40)!r} is no operation's name: small letters, digits, _ and ."


def _is_name(name: str) -> bool:
    drawn = name.replace(ZWJ, "").replace(ZWNJ, "")
    return 1 <= len(name) <= MAX_NAME and drawn.isprintable() and bool(drawn.strip())


def _file_rules(files: list[Any]) -> Iterator[Problem]:
    if not files:
        yield Problem("missing", "files", "there must be at least one file")
    if len(files) > MAX_FILES:
        sentence = f"there are {len(files)} files; at most {MAX_FILES} are allowed"
        yield Problem("too_big", "files", sentence)
        return
    paths: dict[int, str] = {}
    for index, file in enumerate(files):
        if not isinstance(file, dict):
            continue
        if _is_text(file, "path"):
            paths[index] = file["path"]
            if wrong := problem_with(file["path"]):
                yield Problem("path", f"files[{index}].path", f"the path {wrong}")
        if _is_text(file, "content") and _bytes_in(file["content"]) > MAX_FILE_BYTES:
            sentence = f"the file is larger than {MAX_FILE_BYTES >> 20} MiB"
            yield Problem("too_big", f"files[{index}].content", sentence)
    for place, clash in collisions(paths.values()):
        index = list(paths)[place]
        yield Problem("path_collision", f"files[{index}].path", f"the path {clash}")


def _bytes_in(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))
