"""What a probe lays out goes with it, also when it is killed in the middle."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from lmboot.runtime.bait import bait_laid_out


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return tmp_path


def of_somebody_dead() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_nothing_that_was_laid_out_stays(folder: Path) -> None:
    with bait_laid_out() as bait:
        secret = Path(bait.arguments["canary"])
        assert secret.exists()
        assert list(folder.glob(f"lmboot-probe-{os.getpid()}-*"))

    assert not secret.exists()
    assert list(folder.glob("lmboot-probe-*")) == []


def test_what_a_killed_probe_left_goes_with_the_next(folder: Path) -> None:
    dead = of_somebody_dead()
    left = folder / f"lmboot-probe-{dead}-a"
    left.mkdir()
    (left / "secret").write_text("x")
    (folder / f"lmboot-probe-{dead}-b").symlink_to(folder)
    others = folder / f"lmboot-probe-{os.getppid()}-a", folder / "lmboot-probe-mine-a"
    for each in others:
        each.mkdir()

    with bait_laid_out():
        assert set(folder.glob("lmboot-probe-*")) > set(others)

    assert set(folder.iterdir()) == set(others)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
def test_what_bears_the_name_but_is_another_user_s_is_left_alone(folder: Path) -> None:
    theirs = folder / f"lmboot-probe-{of_somebody_dead()}-a"
    theirs.mkdir()
    os.chown(theirs, 54321, 54321)

    with bait_laid_out():
        pass

    assert theirs.exists()
