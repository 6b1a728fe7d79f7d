"""docker for real: a service of its own is started from what is on PATH, with folders of its own.

The posture, launches, every way to end a run, every test that names back ends and every attack
are tried in it, as root and as a plain user who may ask the service; nothing may be left in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lmboot.runtime.backends import docker
from lmboot.runtime.posture import prove
from lmboot.runtime.run import Box
from lmboot.service import NoAnswer, Service
from tests.cli.program import ROOT
from tests.leaks import wait_until
from tests.plain_user.test_plain_user import AS_USER, USER
from tests.runtime.guests import Guest, job
from tests.runtime.plain_user_images import an_image

ROUNDS = 10
START_SECONDS = 60.0
TESTS = {
    "runtime": ("runtime/test_world.py", "runtime/test_lifecycle.py", "runtime/test_limits.py"),
    "attacks": ("attacks",),
}
ALL = "attack or not attack"
ALONE = ("--iptables=false", "--ip6tables=false", "--bridge=none", "--ip-forward=false")


@contextlib.contextmanager
def serving() -> Iterator[Path]:
    """Start a service; give its folder, in which its socket is `s`. Raises RuntimeError."""
    program = shutil.which("dockerd")
    if program is None or os.geteuid() != 0:
        raise RuntimeError("dockerd must be on PATH, and is root's to start")
    folder = Path(tempfile.mkdtemp(prefix="lmboot-docker-", dir="/tmp"))
    folder.chmod(0o711)
    places = [f"--{name}={folder}/{name}" for name in ("data-root", "exec-root", "pidfile")]
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen(
            [program, f"--host=unix://{folder}/s", "--storage-driver=vfs", *ALONE, *places],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        if not wait_until(lambda: answers(folder, process), START_SECONDS):
            raise RuntimeError(f"dockerd does not start: {(folder / 'log').read_text()[-500:]}")
        yield folder
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder)


def answers(folder: Path, process: subprocess.Popen[bytes]) -> bool:
    """Say whether the service answers; raise RuntimeError when it has ended."""
    if process.poll() is not None:
        raise RuntimeError(f"dockerd has ended: {(folder / 'log').read_text()[-500:]}")
    with contextlib.suppress(NoAnswer):
        Service(f"{folder}/s").close()
        return True
    return False


def left(folder: Path) -> list[str]:
    """Return what the service still knows of."""
    with contextlib.closing(Service(f"{folder}/s")) as service:
        return [each["Id"] for each in service.told("GET", "/containers/json?all=1")]


async def postures() -> dict[str, Any]:
    """Prove it; return how much of it holds, and what does not."""
    await docker.prepare(print)
    proven = await prove(docker.find())
    if not proven.usable:
        raise RuntimeError(proven.reason)
    short = {name: level for name, level in proven.properties.items() if level != "enforced"}
    return {"enforced": len(proven.properties) - len(short), "not enforced": json.dumps(short)}


async def images(folder: Path) -> dict[str, str]:
    """Run in an image that would have a volume and a command of its own; return what it tells."""
    image = await asyncio.to_thread(an_image, folder)
    changes = ["VOLUME /data", 'ENTRYPOINT ["/bin/false"]', "ENV LD_DEBUG=all", "USER root"]
    words = "&".join(f"changes={quote(change)}" for change in changes)
    with contextlib.closing(Service(f"{folder}/s")) as service:
        service.told(
            "POST", f"/images/create?fromSrc=-&repo=own&tag=1&{words}", image.read_bytes()
        )
        backend = docker.find("own:1")
        proven = await prove(backend)
        box = await Box.open(backend)
        try:
            program = job("import os; print(os.listdir('/data')); open('/data/x', 'w')")
            guest = await Guest(await box.launch(program)).finish()
        finally:
            await box.close()
        if service.told("GET", "/volumes")["Volumes"] or left(folder):
            raise RuntimeError("a volume is left")
    if guest.text != "[]\n" or not guest.errors.startswith("Traceback") or not proven.usable:
        raise RuntimeError(f"in an image: {proven.reason} {guest.text} {guest.errors}")
    return {"in an image": "usable"}


async def launches(rounds: int) -> dict[str, float]:
    """Return median seconds: until it stands, then to the first line, and until all is gone."""
    times: dict[str, list[float]] = {"stands_s": [], "first_line_s": [], "gone_s": []}
    for _ in range(rounds):
        began = time.perf_counter()
        box = await Box.open(docker.find())
        times["stands_s"].append(time.perf_counter() - began)
        began = time.perf_counter()
        guest = Guest(await box.launch(job("print('ready', flush=True)\ninput()")))
        await guest.until(b"ready")
        times["first_line_s"].append(time.perf_counter() - began)
        began = time.perf_counter()
        await box.close()
        times["gone_s"].append(time.perf_counter() - began)
    return {name: statistics.median(found) for name, found in times.items()}


def tried(folder: Path, name: str) -> dict[str, int]:
    """Run tests in docker in place of the back ends that they name; return how many passed."""
    words = ["-q", "-p", "no:cacheprovider", "-k", "docker", "-m", ALL, "--require=sandbox"]
    paths = [f"tests/{path}" for path in TESTS[name]]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *words, *paths],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "LMBOOT_TEST_SANDBOX": "docker"},
        check=False,
    )
    return {f"{name} passed": passed(done, folder)}


def passed(done: subprocess.CompletedProcess[str], folder: Path) -> int:
    """Return how many tests passed; raise RuntimeError if one did not, or left something."""
    if done.returncode != 0:
        raise RuntimeError(done.stdout[-4000:] + done.stderr[-1000:])
    if not wait_until(lambda: not left(folder)):
        raise RuntimeError(f"docker still knows of {left(folder)}")
    return int(re.findall(r"(\d+) passed", done.stdout)[-1])


def tried_by_a_plain_user(folder: Path, name: str) -> dict[str, int]:
    """Run tests as somebody who is nobody, but in whose group the socket is."""
    os.chown(folder / "s", 0, USER)
    return {f"{name} passed as a plain user": sum(_by_user(folder, path) for path in TESTS[name])}


def _by_user(folder: Path, path: str) -> int:
    home = Path(tempfile.mkdtemp(prefix="lmboot-home-", dir="/tmp"))
    (home / "checkout").mkdir()
    os.chown(home, USER, USER)
    script = ["unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, "sh"]
    try:
        done = subprocess.run(
            [*script, str(ROOT), str(home), str(USER), f"tests/{path}", ALL],
            env={
                "HOME": str(home),
                "PATH": "/usr/bin:/bin:/usr/sbin:/sbin",
                "PYTHONDONTWRITEBYTECODE": "1",
                "PYTHONPATH": str(home / "checkout"),
                "DOCKER_HOST": f"unix://{folder}/s",
                "LMBOOT_TEST_SANDBOX": "docker",
                "PYTEST_ADDOPTS": "-k docker",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        subprocess.run(["rm", "-rf", "--one-file-system", str(home)], check=True)
    return passed(done, folder)


def main(rounds: int = ROUNDS) -> dict[str, Any]:
    """Try all of it; return what was proven, seconds, and how many tests passed."""
    with serving() as folder:
        os.environ["DOCKER_HOST"] = f"unix://{folder}/s"
        figures = {**asyncio.run(postures()), **asyncio.run(launches(rounds))}
        figures |= asyncio.run(images(folder))
        if left(folder):
            raise RuntimeError(f"docker still knows of {left(folder)}")
        for name in TESTS:
            figures |= tried(folder, name) | tried_by_a_plain_user(folder, name)
        return figures
