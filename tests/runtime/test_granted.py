"""The files of the host and their stand-ins in the guest's library answer alike."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from lmboot import runtime
from lmboot.errors import OperationRefused
from lmboot.runtime.granted import operations
from lmboot.runtime.grants import Grants
from lmboot.runtime.operations import Permit, checked
from lmboot.runtime.policy import OPERATIONS

LIBRARY = Path(runtime.__file__).parent / "guest" / "guest_sys.py"
FILES = sorted(op for op in OPERATIONS if op.startswith("fs."))


class Free:
    """A request that rests on nothing and may have its effect."""

    permit: Permit | None = None

    def commit(self) -> None:
        return

    def redirected(self, url: str) -> None:
        return


class Host:
    """The operations on a granted folder `w`."""

    def __init__(self, grants: Grants) -> None:
        self._operations = {each.name: each for each in operations(grants)}

    async def call(self, op: str, **args: Any) -> Any:
        operation = self._operations[op]
        return await operation.perform(checked(operation.arguments, args), Free())


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    grants = Grants()
    (tmp_path / "w").mkdir()
    await grants.add_folder(tmp_path / "w", "write", name="w")
    yield Host(grants)
    grants.close()


@pytest.fixture
def twin(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The guest's library, with everything emulated."""
    monkeypatch.setenv("LMBOOT_ROUTES", " ".join(f"{op}=EMULATE" for op in FILES))
    monkeypatch.setenv("LMBOOT_FD", "-1")
    spec = importlib.util.spec_from_file_location("guest_sys_of_the_test", LIBRARY)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def told(result: Any) -> Any:
    """Return a result without what only a real disk knows, and who performed it."""
    if isinstance(result, dict) and "modified" in result:
        assert type(result["modified"]) is float
        result = {**result, "modified": 0.0}
        if result["kind"] == "folder":
            assert type(result["size"]) is int
            result["size"] = 0
    return result.replace("vfs.", "host.") if isinstance(result, str) else result


DONE: list[tuple[str, dict[str, Any]]] = [
    ("fs.write_text", {"path": "w/a.txt", "text": "naïve"}),
    ("fs.write_text", {"path": "w/sub/deep/b.txt", "text": ""}),
    ("fs.write_text", {"path": "w/a.txt", "text": "naïve oak", "overwrite": True}),
    ("fs.write_text", {"path": "w/sub/c.txt", "text": "c", "overwrite": False}),
    ("fs.open", {"path": "w/new/d.txt"}),
    ("fs.open", {"path": "w/a.txt"}),
    ("fs.read_text", {"path": "w/a.txt"}),
    ("fs.list", {}),
    ("fs.list", {"path": ""}),
    ("fs.list", {"path": "w"}),
    ("fs.list", {"path": "w/"}),
    ("fs.list", {"path": "w/sub"}),
    ("fs.stat", {"path": "w/a.txt"}),
    ("fs.stat", {"path": "w/sub"}),
    ("fs.stat", {"path": "w"}),
    ("fs.remove", {"path": "w/a.txt"}),
    ("fs.list", {"path": "w"}),
]
REFUSED: list[tuple[str, dict[str, Any]]] = [
    ("fs.read_text", {"path": "w/none.txt"}),
    ("fs.read_text", {"path": "w/sub"}),
    ("fs.stat", {"path": "w/none.txt"}),
    ("fs.list", {"path": "w/none"}),
    ("fs.list", {"path": "w/sub/c.txt"}),
    ("fs.open", {"path": "w/sub"}),
    ("fs.open", {"path": "w/sub/c.txt/d"}),
    ("fs.write_text", {"path": "w/sub", "text": ""}),
    ("fs.write_text", {"path": "w/sub/c.txt/d", "text": ""}),
    ("fs.write_text", {"path": "w/sub/c.txt", "text": "", "overwrite": False}),
    ("fs.remove", {"path": "w/sub"}),
    ("fs.remove", {"path": "w/none.txt"}),
    ("fs.stat", {"path": "w/../w"}),
]


async def test_every_operation_on_files_answers_alike_whoever_performs_it(
    host: Host, twin: ModuleType
) -> None:
    assert {op for op, _ in DONE} == set(FILES)

    for op, args in DONE:
        ours, theirs = await host.call(op, **args), twin.call(op, **args)

        assert (op, args, told(ours)) == (op, args, told(theirs))


async def test_what_the_host_refuses_its_stand_in_refuses(host: Host, twin: ModuleType) -> None:
    for each in (host.call, twin.call):
        if (made := each("fs.write_text", path="w/sub/c.txt", text="c")) != 1:
            await made

    for op, args in REFUSED:
        with pytest.raises(OperationRefused):
            await host.call(op, **args)
        with pytest.raises(OSError):  # noqa: PT011 - it is all that the library promises
            twin.call(op, **args)


async def test_links_are_not_named_and_not_opened(host: Host, tmp_path: Path) -> None:
    folder = tmp_path / "w"
    (tmp_path / "secret").write_text("oak")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "dangling").symlink_to("nothing")
    os.link(tmp_path / "secret", folder / "hard")
    os.mkfifo(folder / "fifo")
    (folder / "plain").write_text("x")

    assert await host.call("fs.list", path="w") == ["plain"]
    for name in ("link", "dangling", "hard", "fifo"):
        with pytest.raises(OperationRefused):
            await host.call("fs.open", path=f"w/{name}")
    assert await host.call("fs.open", path="w/plain") == "ok, handle: host.w/plain"
