"""The built wheel, not the checkout: everything that lmboot needs is inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that holds lmboot as its wheel installs it, without what it depends on."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(folder / "dist"),
        str(ROOT),
    ]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    wheel = next((folder / "dist").glob("lmboot-*.whl"))
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    target = ["--target", str(folder / "site"), str(wheel)]
    subprocess.run([sys.executable, *install, *target], check=True, capture_output=True)
    return folder / "site"


def lmboot(installed: Path, home: Path, *words: str, text: str = "") -> list[str]:
    """Run the installed lmboot far from the checkout; return the lines that it printed."""
    names = ("DATA", "STATE", "CONFIG", "CACHE")
    env = {f"XDG_{name}_HOME": str(home / name.lower()) for name in names}
    env |= {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(installed)}
    command = [sys.executable, "-P", "-m", "lmboot", *words]
    done = subprocess.run(command, input=text, capture_output=True, text=True, env=env, cwd=home)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_wheel_holds_the_seed_model_and_the_guests_files(installed: Path) -> None:
    assert (installed / "lmboot/assets/seed/seed.gguf").stat().st_size < 8 << 20
    assert (installed / "lmboot/runtime/guest/guest_sys.py").is_file()
    assert (installed / "lmboot/py.typed").is_file()
    assert (installed / "bin/lmboot").is_file()


@pytest.mark.engine
@pytest.mark.sandbox
def test_the_wheel_does_the_main_job_far_from_the_checkout(
    installed: Path, tmp_path: Path
) -> None:
    words = ("boot", "--model", "seed", "--yes", "--json")
    lines = lmboot(installed, tmp_path, *words, text=":rt calc 6 * 7\n:quit\n")

    shown = [json.loads(line) for line in lines]
    assert {"pane": "rt", "text": "42"} in shown
    assert shown[-1] == {"pane": "sys", "text": "runtime ended", "event": "ended", "code": 0}
