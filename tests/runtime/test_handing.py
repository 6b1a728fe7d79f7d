"""What may be handed to a worker, and as what: a file is never the file itself."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from lmboot.errors import UsageFault
from lmboot.process import new_file_in_memory
from lmboot.runtime import handing
from lmboot.runtime.handing import MAX_DESCRIPTORS, close_all, handed
from tests import leaks

SIZE_SEALED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


@pytest.fixture(autouse=True)
def _nothing_stays_open() -> Iterator[None]:
    before = leaks.descriptors()
    yield
    assert leaks.descriptors() == before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    return path


def test_a_file_is_handed_as_a_copy_that_nobody_can_change(file: Path) -> None:
    with file.open("rb") as opened:
        opened.read(3)
        (copy,) = handed([opened.fileno()])
        try:
            assert os.pread(copy, 100, 0) == b"content"
            assert os.fstat(copy).st_ino != os.fstat(opened.fileno()).st_ino
            with pytest.raises(PermissionError):
                os.write(copy, b"x")
            with pytest.raises(PermissionError):
                os.truncate(copy, 0)
            os.lseek(copy, 5, os.SEEK_SET)
            assert opened.tell() == 3
        finally:
            close_all([copy])


def test_a_file_without_a_size_is_read_to_its_end() -> None:
    with open("/proc/self/stat") as opened:
        (copy,) = handed([opened.fileno()])
    with os.fdopen(copy) as copied:
        assert copied.read().startswith(f"{os.getpid()} ")


@pytest.mark.parametrize("end", [0, 1])
def test_a_pipe_is_handed_itself(end: int) -> None:
    pipe = os.pipe()
    given = handed([pipe[end]])

    assert os.fstat(given[0]).st_ino == os.fstat(pipe[end]).st_ino
    close_all([*given, *pipe])


def test_a_file_in_memory_is_handed_itself_once_its_size_is_sealed() -> None:
    memory = new_file_in_memory()
    os.write(memory, b"12345")
    with pytest.raises(UsageFault, match="open for writing"):
        handed([memory])
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, SIZE_SEALED)

    given = handed([memory])

    os.pwrite(given[0], b"x", 0)
    assert os.pread(memory, 5, 0) == b"x2345"
    close_all([*given, memory])


def test_what_is_no_file_and_no_pipe_is_refused(file: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    left, right = socket.socketpair()
    terminal = pty.openpty()
    refused = {
        "folder": os.open(tmp_path, os.O_RDONLY),
        "path": os.open(file, os.O_PATH),
        "path of a folder": os.open(tmp_path, os.O_PATH),
        "named pipe": os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK),
        "socket": left.detach(),
        "other socket": right.detach(),
        "terminal": terminal[0],
        "other terminal": terminal[1],
        "device": os.open("/dev/null", os.O_RDONLY),
        "process": os.pidfd_open(os.getpid()),
        "event": os.eventfd(0),
    }
    for what, descriptor in refused.items():
        with pytest.raises(UsageFault, match="neither a file nor a pipe"):
            print(what, handed([descriptor]))
    close_all(list(refused.values()))


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_APPEND])
def test_a_file_that_is_open_for_writing_is_refused(file: Path, flags: int) -> None:
    descriptor = os.open(file, flags)
    with pytest.raises(UsageFault, match="open for writing"):
        handed([descriptor])
    os.close(descriptor)


def test_one_that_is_refused_leaves_none_open(file: Path, tmp_path: Path) -> None:
    folder, opened = os.open(tmp_path, os.O_RDONLY), os.open(file, os.O_RDONLY)
    with pytest.raises(UsageFault):
        handed([opened, folder])
    close_all([folder, opened])


def test_a_number_that_is_not_open_is_refused() -> None:
    with pytest.raises(UsageFault, match="Bad file descriptor"):
        handed([9999])


def test_there_are_not_more_than_a_worker_takes(file: Path) -> None:
    with file.open("rb") as opened:
        close_all(handed([opened.fileno()] * MAX_DESCRIPTORS))
        with pytest.raises(UsageFault, match="at most 8"):
            handed([opened.fileno()] * (MAX_DESCRIPTORS + 1))


def test_files_are_copied_up_to_a_size_together(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handing, "MAX_COPIED_BYTES", 14)
    with file.open("rb") as opened:
        close_all(handed([opened.fileno()] * 2))
        with pytest.raises(UsageFault, match="together"):
            handed([opened.fileno()] * 3)
