"""firejail's plan as a value, and where it is refused; `firejail_world.py` runs it for real."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmboot.errors import SandboxFault
from lmboot.runtime import posture
from lmboot.runtime.backends import Plan, bubblewrap, firejail, landlock, workspaces
from lmboot.runtime.backends.firejail import Firejail, covered
from lmboot.runtime.launcher import Launcher


def a_firejail() -> Firejail:
    return Firejail(
        binary="/usr/bin/firejail",
        version=(0, 9, 72),
        python="/usr/bin/python3",
        covered=("home", "var"),
        filter=b"FILTER",
        confine=b"CONFINE",
        start=b"START",
        library=b"LIBRARY",
    )


def test_firejail_is_told_exactly_this() -> None:
    plan = a_firejail().plan(disk_bytes=64 << 20, workspace="/w")

    assert plan == Plan(
        argv=(
            *("/usr/bin/firejail", "--quiet", "--noprofile"),
            *("--net=none", "--ipc-namespace", "--hostname=lmboot"),
            *("--private-dev", "--private-tmp", "--private-etc=ld.so.cache"),
            *("--caps.drop=all", "--nonewprivs", "--nogroups", "--seccomp"),
            *("--dbus-user=none", "--dbus-system=none", "--x11=none"),
            *("--deterministic-shutdown", "--deterministic-exit-code"),
            *("--blacklist=/home", "--blacklist=/var"),
            *("--whitelist=/run/lmboot-has-nothing-there", "--whitelist=/w"),
            *("--read-only=/tmp", "--read-only=/dev/shm", "--read-only=/w"),
            *("--read-write=/w/app", "--read-write=/w/tmp", "--keep-fd=3,4,5,6"),
            *("--", "exec", "/usr/bin/env", "-i", "PATH=/usr/bin", "LANG=C.UTF-8"),
            *("HOME=/w/app", "TMPDIR=/w/tmp", "LMBOOT_FD=3"),
            *("/usr/bin/python3", "-I", "-S", "-B", "/w/launch/confine.py", "6", "hidden", "--"),
            *("/usr/bin/python3", "-I", "-S", "-B", "-u", "-X", "utf8", "/w/launch/start.py"),
        ),
        env={},
        library="/w/launch/lib",
        contents={6: b"FILTER"},
        files={
            "launch/confine.py": b"CONFINE",
            "launch/start.py": b"START",
            "launch/lib/guest_sys.py": b"LIBRARY",
        },
        cwd="/w/app",
        nested=True,
        folders=("/w/app", "/w/tmp"),
        bounds=(64 << 20, 16 << 20),
    )


def test_all_that_lies_in_the_root_is_covered_up_but_what_a_program_needs() -> None:
    names = ["usr", "lib64", "work", "home", "etc", ".secret", "proc", "root", "tmp", "run"]

    assert covered(names) == (".secret", "home", "root", "work")


def test_its_workspaces_lie_where_nothing_else_of_the_user_s_does() -> None:
    assert workspaces("firejail") == Path(f"/tmp/lmboot-{os.geteuid()}")
    assert workspaces("landlock") is None


# ---------------------------------------------------------------- where it is refused


@pytest.mark.parametrize(
    ("mode", "means"),
    [
        (0o757, "can be changed by others"),
        (0o4775, "can be changed by others"),
        (0o755, "can't hide anything"),
    ],
)
def test_a_firejail_that_is_not_root_s_own_is_not_trusted(
    mode: int, means: str, tmp_path: Path
) -> None:
    """Sandbox.md case 98."""
    fake = tmp_path / "firejail"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(mode)

    with pytest.raises(
        SandboxFault, match=means if os.geteuid() == 0 else "not trusted"
    ) as caught:
        firejail._binary([str(tmp_path)])

    assert "sudo ch" in caught.value.hint


def test_no_firejail_is_told_without_praise_for_it(tmp_path: Path) -> None:
    with pytest.raises(SandboxFault, match="is not installed") as caught:
        firejail._binary([str(tmp_path)])

    assert "--sandbox auto" in caught.value.hint


def a_program(folder: Path, script: str) -> str:
    file = folder / "firejail"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize("text", ["firejail version 0.9.66", ""])
def test_a_firejail_that_closes_all_descriptors_is_too_old(text: str, tmp_path: Path) -> None:
    old = a_program(tmp_path, f"echo {text}\necho\necho Compile time support:")

    with pytest.raises(SandboxFault, match="is too old") as caught:
        firejail._version(old)

    assert "Install firejail 0.9.72 or newer" in caught.value.hint


def test_a_firejail_that_is_new_enough_says_so(tmp_path: Path) -> None:
    new = a_program(tmp_path, "echo firejail version 0.9.74\necho\necho Compile time support:")

    assert firejail._version(new) == (0, 9, 74)


def test_a_firejail_that_does_not_know_its_user_is_not_called_too_old(tmp_path: Path) -> None:
    """It asks for the user's entry before anything else, even before it says its version."""
    failing = a_program(
        tmp_path, "echo 'Error getpwuid: main.c:247 init_cfg: Success' >&2; exit 1"
    )

    with pytest.raises(SandboxFault, match="does not start: Error getpwuid") as caught:
        firejail._version(failing)

    assert "list of users names" in caught.value.hint


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is refused")
async def test_for_root_it_is_refused_with_the_reason() -> None:
    with pytest.raises(SandboxFault, match="as root lmboot runs everything as a user") as caught:
        await Launcher.prepare("firejail")

    assert "ordinary user" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("Error: the user is not allowed to use Firejail.", "firecfg"),
        ("Error getpwuid: main.c:247 init_cfg: Success", "list of users"),
        ("anything else", "--sandbox auto"),
    ],
)
def test_a_failure_is_told_with_its_remedy(said: str, hint: str) -> None:
    means, remedy = a_firejail().remedy(said)

    assert said in means
    assert hint in remedy


async def test_it_is_never_taken_by_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Not even where it is all that there is: it has to be asked for by its name."""

    def found() -> Firejail:
        raise AssertionError("nobody asked for firejail")

    monkeypatch.setattr(firejail, "find", found)
    monkeypatch.setattr(landlock, "version", lambda: 5)
    monkeypatch.setattr(bubblewrap._binary, "__defaults__", ((str(tmp_path),),))
    names = ("bubblewrap", "landlock", "firejail")
    monkeypatch.setattr(posture, "BACKENDS", {name: posture.BACKENDS[name] for name in names})

    with pytest.raises(SandboxFault, match="no sandbox is usable here"):
        await posture.choose("auto", no_border=False)
