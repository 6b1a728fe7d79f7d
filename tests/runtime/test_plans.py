"""What each back end starts, as values; and how bubblewrap's failures are explained."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmboot.errors import SandboxFault
from lmboot.runtime.backends import Plan, bubblewrap, none
from lmboot.runtime.backends.bubblewrap import Bubblewrap, Kernel, diagnose
from lmboot.runtime.backends.programs import TRUSTED_FOLDERS

MERGED = (("/lib", "usr/lib"), ("/lib64", "usr/lib64"), ("/bin", "usr/bin"))


def wrap(
    version: tuple[int, ...] = (0, 8, 0),
    prefix: str | None = None,
    links: tuple[tuple[str, str | None], ...] = MERGED,
) -> Bubblewrap:
    return Bubblewrap(
        binary="/usr/bin/bwrap",
        version=version,
        python="/usr/bin/python3",
        prefix=prefix,
        links=links,
        filter=b"FILTER",
        start=b"START",
        library=b"LIBRARY",
    )


def test_bubblewrap_is_told_exactly_this() -> None:
    plan = wrap().plan(disk_bytes=64 << 20, workspace="")

    assert plan == Plan(
        argv=(
            *("/usr/bin/bwrap", "--unshare-all", "--unshare-user", "--disable-userns"),
            *("--die-with-parent", "--new-session", "--cap-drop", "ALL"),
            *("--uid", "65534", "--gid", "65534", "--hostname", "lmboot"),
            *("--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib"),
            *("--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin"),
            *("--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"),
            *("--proc", "/proc", "--remount-ro", "/proc"),
            *("--dev", "/dev", "--size", "16777216", "--tmpfs", "/dev/shm"),
            *("--remount-ro", "/dev", "--size", "16777216", "--tmpfs", "/tmp"),
            *("--size", "67108864", "--tmpfs", "/app"),
            *("--file", "8", "/run/lmboot/start.py"),
            *("--file", "9", "/run/lmboot/lib/guest_sys.py"),
            *("--remount-ro", "/", "--chdir", "/app", "--info-fd", "7", "--seccomp", "6", "--"),
            *("/usr/bin/python3", "-I", "-S", "-B", "-u", "-X", "utf8", "/run/lmboot/start.py"),
        ),
        env={
            "PATH": "/usr/bin",
            "LANG": "C.UTF-8",
            "HOME": "/app",
            "TMPDIR": "/tmp",
            "LMBOOT_FD": "3",
        },
        library="/run/lmboot/lib",
        contents={6: b"FILTER", 8: b"START", 9: b"LIBRARY"},
        cwd="/",
        info=7,
        folders=("/app", "/tmp", "/dev/shm"),
    )


def test_an_old_bubblewrap_is_not_asked_for_what_it_does_not_know() -> None:
    assert "--disable-userns" not in wrap(version=(0, 7, 0)).plan(disk_bytes=1, workspace="").argv


def test_a_python_outside_usr_is_bound_read_only_with_its_prefix() -> None:
    argv = wrap(prefix="/opt/python").plan(disk_bytes=1, workspace="").argv

    at = argv.index("/opt/python")
    assert argv[at - 1 : at + 2] == ("--ro-bind", "/opt/python", "/opt/python")


def test_folders_of_an_unmerged_system_are_bound_read_only() -> None:
    argv = wrap(links=(("/lib", None), ("/bin", None))).plan(disk_bytes=1, workspace="").argv

    text = " ".join(argv)
    assert "--ro-bind /lib /lib --ro-bind /bin /bin" in text
    assert "--symlink" not in text


@pytest.mark.parametrize("prefix", [None, "/opt/python"])
@pytest.mark.case(48, sandbox="bubblewrap")
def test_nothing_is_mounted_made_or_linked_beneath_the_workspace(prefix: str | None) -> None:
    """Sandbox.md finding 2: whatever the payload controls must be on no path that is followed."""
    argv = wrap(prefix=prefix).plan(disk_bytes=1, workspace="").argv

    assert [word for word in argv if word.startswith("/app/")] == []
    assert "--bind" not in argv
    assert argv[argv.index("/app") - 1] == "--tmpfs"


def test_without_a_border_the_runtime_starts_in_its_folder() -> None:
    plan = none.Unconfined(python="/p", guest="/g").plan(disk_bytes=1, workspace="/w")

    assert plan == Plan(
        argv=("/p", "-I", "-S", "-B", "-u", "-X", "utf8", "/g/start.py"),
        env={
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": "/w/app",
            "TMPDIR": "/w/tmp",
            "LMBOOT_FD": "3",
        },
        library="/g",
        contents={},
        cwd="/w/app",
    )


# ---------------------------------------------------------------- which bubblewrap


@pytest.mark.case(98)
def test_a_bubblewrap_that_others_can_change_is_not_trusted(tmp_path: Path) -> None:
    """Sandbox.md case 98."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o757)

    with pytest.raises(SandboxFault, match="can be changed by others") as caught:
        bubblewrap._binary([str(tmp_path)])

    assert "sudo chown root:root" in caught.value.hint


@pytest.mark.case(98)
def test_the_path_variable_does_not_choose_bubblewrap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sandbox.md case 98."""
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert bubblewrap._binary() in {f"{folder}/bwrap" for folder in TRUSTED_FOLDERS}


def test_no_bubblewrap_is_told_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SandboxFault, match="is not installed") as caught:
        bubblewrap._binary([str(tmp_path)])

    assert "sudo apt install bubblewrap" in caught.value.hint


def test_a_file_in_the_way_of_bubblewrap_counts_as_none(tmp_path: Path) -> None:
    with pytest.raises(SandboxFault, match="is not installed"):
        bubblewrap._binary([os.fspath(tmp_path / "absent")])


# ---------------------------------------------------------------- why it did not start

REFUSED = "the sandbox ended with status 1: bwrap: setting up uid map: Permission denied"


@pytest.mark.parametrize(
    ("said", "kernel", "means", "hint"),
    [
        (REFUSED, Kernel(apparmor_restricts=True), "AppArmor", "apparmor_restrict"),
        (REFUSED, Kernel(container=True), "container around lmboot", "--security-opt"),
        (REFUSED, Kernel(clone_forbidden=True), "ordinary users", "unprivileged_userns_clone=1"),
        (REFUSED, Kernel(no_user_namespaces=True), "is 0", "user.max_user_namespaces=10000"),
        ("bwrap: Unknown option --size", Kernel(), "too old", "0.7 or newer"),
        (
            "bwrap: Can't find source path /root/x: no",
            Kernel(),
            "can't read the Python",
            "python3",
        ),
        ("bwrap: something else", Kernel(), "something else", "lmboot doctor"),
    ],
)
@pytest.mark.case(99)
def test_a_failure_is_explained_with_its_remedy(
    said: str, kernel: Kernel, means: str, hint: str
) -> None:
    told = diagnose(said, kernel)

    assert means in told[0]
    assert hint in told[1]


def test_what_bubblewrap_says_can_t_disturb_the_screen() -> None:
    means, _ = diagnose("bwrap: \x1b[2J\u202e" + "x" * 5000, Kernel())

    assert means.isprintable()
    assert len(means) < 500


@pytest.mark.sandbox
def test_bubblewrap_and_its_interpreter_are_found_here() -> None:
    found = bubblewrap.find()

    assert found.version >= (0, 7)
    assert os.access(found.python, os.X_OK)
    assert found.links


def test_a_bubblewrap_without_sizes_is_too_old(tmp_path: Path) -> None:
    old = tmp_path / "bwrap"
    old.write_text("#!/bin/sh\necho bubblewrap 0.6.1\n")
    old.chmod(0o755)

    assert bubblewrap._version(str(old)) == (0, 6, 1) < bubblewrap.OLDEST
    assert bubblewrap._version("/bin/false") == ()
