"""Images of the user's own, which only a plain user has: run by `test_plain_user.py`."""

from __future__ import annotations

import asyncio
import os
import subprocess
import tarfile
from pathlib import Path

import psutil
import pytest

from lmboot.errors import SandboxFault
from lmboot.process import Ended
from lmboot.runtime.backends import container
from lmboot.runtime.backends.container import Store
from lmboot.runtime.launcher import Launcher
from lmboot.runtime.posture import Wish, prove
from lmboot.runtime.run import Box
from tests.runtime.guests import Guest, job


def test_without_any_image_it_is_told_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    with pytest.raises(SandboxFault, match="has no images") as caught:
        container.find("mine")

    assert "podman pull mine" in caught.value.hint


def test_images_are_looked_for_where_the_configuration_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "containers").mkdir()
    (tmp_path / "containers/storage.conf").write_text(f'[storage]\ngraphroot = "{tmp_path}/s"\n')
    (tmp_path / "s/overlay-images").mkdir(parents=True)
    (tmp_path / "s/overlay-images/images.json").write_text("[]")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))

    assert container.find("mine").store == Store("mine", "overlay", f"{tmp_path}/s")


def an_image(folder: Path) -> Path:
    """Return a tar file of this machine's Python with what it needs, without its /etc."""
    tell = "import sys, sysconfig; print(sys.executable, sysconfig.get_path('stdlib'))"
    found = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", tell], capture_output=True, text=True, check=True
    )
    program, library = found.stdout.split()
    program = os.path.realpath(program)
    needed = subprocess.run(
        ["ldd", program, *map(str, Path(library, "lib-dynload").glob("_ctypes*.so"))],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    shared = {word for word in needed.stdout.split() if word.startswith("/") and ".so" in word}
    shared = {word.rstrip(":") for word in shared if "lib-dynload" not in word}

    def root(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        entry.uid = entry.gid = 0
        skipped = ("__pycache__", "/test", "/idlelib", "/tkinter", "/ensurepip", "/lib2to3")
        return None if any(part in entry.name for part in skipped) else entry

    (folder / "passwd").write_text("root:x:0:0:::\n")
    folders = {str(above) for path in (program, library, *shared) for above in Path(path).parents}
    with tarfile.open(folder / "image.tar", "w", dereference=True) as tar:
        for path in sorted(folders - {"/"}):  # else they are root's alone
            tar.add(path, path, recursive=False, filter=root)
        tar.add(program, "usr/bin/python3", filter=root)
        tar.add(library, library, filter=root)
        for path in sorted(shared):
            tar.add(path, path, filter=root)
        tar.add(folder / "passwd", "etc/passwd", filter=root)
    return folder / "image.tar"


@pytest.mark.sandbox
async def test_an_image_of_the_user_s_is_what_the_container_is_made_of(tmp_path: Path) -> None:
    await asyncio.to_thread(podman, "import", "-q", str(an_image(tmp_path)), "lmboot-t")
    try:
        backend = container.find("lmboot-t")
        proven = await prove(backend)
        box = await Box.open(backend)
        try:
            program = job("print(open('/etc/passwd').read(), end=''); open('x', 'w')")
            guest = await Guest(await box.launch(program)).finish()
        finally:
            await box.close()
        launcher = await Launcher.prepare("podman", wish=Wish(image="lmboot-t"))
        await launcher.close()
        with pytest.raises(SandboxFault, match="no such image") as caught:
            await Box.open(container.find("lmboot-absent"))
    finally:
        await asyncio.to_thread(forget)

    assert (proven.usable, proven.reason) == (True, "")
    assert (guest.text.splitlines()[0], guest.errors) == ("root:x:0:0:::", "")
    assert guest.ended == Ended(0, None, clean=True)
    assert "is made of an image" in launcher.no_programs  # what was judged would not be what runs
    assert "podman pull lmboot-absent" in caught.value.hint


def podman(*words: str) -> None:
    command = ["podman", "--log-level", "fatal", *words]
    subprocess.run(command, check=True, capture_output=True, cwd="/")


def forget() -> None:
    """Remove what the user's own podman keeps of this, its process too."""
    podman("rmi", "-f", "lmboot-t")
    for process in psutil.process_iter():
        if process.uids().real == os.geteuid() and process.cmdline() == ["podman"]:
            process.kill()
    Path(f"/dev/shm/libpod_rootless_lock_{os.geteuid()}").unlink(missing_ok=True)
