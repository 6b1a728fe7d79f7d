"""macOS' sandbox, as values: nothing of it can run here, and nothing of it was ever run."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import pytest

from lmboot import libproc
from lmboot.census import TICKS_PER_SECOND, Facts, facts_from
from lmboot.errors import SandboxFault
from lmboot.runtime.backends import seatbelt
from lmboot.runtime.backends.seatbelt import Seatbelt, profile, resolved, spellings
from lmboot.runtime.policy import Limits
from lmboot.runtime.run import rlimits

WORKSPACE = "/Users/u/Library/Caches/lmboot/workspaces/run-1"
PREFIX = "/opt/homebrew/Cellar/python@3.12/3.12.1/Frameworks/Python.framework/Versions/3.12"
ODD = '/Users/o\'neil (x) "y" \\ $z/ü'


def a_seatbelt(prefix: str = PREFIX) -> Seatbelt:
    return Seatbelt(
        binary="/usr/bin/sandbox-exec",
        python=f"{prefix}/bin/python3.12",
        prefix=prefix,
        start=b"START",
        library=b"LIBRARY",
    )


def test_sandbox_exec_is_told_exactly_this() -> None:
    plan = a_seatbelt().plan(disk_bytes=64 << 20, workspace=WORKSPACE)

    text, given = profile(prefix=PREFIX, workspace=WORKSPACE)
    defined = tuple(word for item in given.items() for word in ("-D", "=".join(item)))
    assert plan.argv == (
        *("/usr/bin/sandbox-exec", *defined, "-p", text),
        *(f"{PREFIX}/bin/python3.12", "-I", "-S", "-B", "-u", "-X", "utf8"),
        f"{WORKSPACE}/launch/start.py",
    )
    assert plan.env == {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "HOME": f"{WORKSPACE}/app",
        "TMPDIR": f"{WORKSPACE}/tmp",
        "LMBOOT_FD": "3",
    }
    assert plan.files == {"launch/start.py": b"START", "launch/lib/guest_sys.py": b"LIBRARY"}
    assert (plan.cwd, plan.mark) == (f"{WORKSPACE}/app", f"{WORKSPACE}/app")
    assert plan.folders == (f"{WORKSPACE}/app", f"{WORKSPACE}/tmp")
    assert plan.bounds == (64 << 20, 16 << 20)
    assert (plan.info, plan.nested, plan.enclosed, dict(plan.contents)) == (None, False, False, {})


def test_the_profile_is_exactly_this() -> None:
    text, given = profile(prefix="/opt/p", workspace="/Users/w")

    libraries = " ".join(f'(subpath "{path}")' for path in seatbelt.LIBRARIES)
    facts = " ".join(f'(sysctl-name "{name}")' for name in seatbelt.FACTS)
    assert given == {
        "PYTHON0": "/opt/p",
        "W0": "/Users/w",
        "OWN0": "/Users/w/app",
        "OWN1": "/Users/w/tmp",
        "ROOT0": "/Users/w/app",
        "ROOT1": "/Users/w/tmp",
        "ABOVE0": "/opt",
        "ABOVE1": "/Users",
    }
    assert text.splitlines() == [
        "(version 1)",
        "(deny default)",
        "(allow process-fork)",
        '(allow process-exec (subpath (param "PYTHON0")))',
        "(allow process-info* (target same-sandbox))",
        "(allow signal (target same-sandbox))",
        f"(allow sysctl-read {facts})",
        '(allow file-read* (literal "/"))',
        '(allow file-read-metadata (literal "/") '
        '(literal (param "ABOVE0")) (literal (param "ABOVE1")))',
        f'(allow file-read* file-map-executable {libraries} (subpath (param "PYTHON0")))',
        '(allow file-read* (subpath "/usr/share/zoneinfo"))',
        '(allow file-read* (subpath (param "W0")))',
        '(allow file-write* (subpath (param "OWN0")) (subpath (param "OWN1")))',
        '(deny file-write-unlink (literal (param "ROOT0")) (literal (param "ROOT1")))',
        "(deny file-write-setugid)",
        '(allow file-read* (literal "/dev/zero"))',
        '(allow file-read* (literal "/dev/random") (literal "/dev/urandom"))',
        '(allow file-read* file-write-data (literal "/dev/null"))',
        "(deny network*)",
    ]


@pytest.mark.parametrize(
    ("prefix", "workspace"),
    [(PREFIX, WORKSPACE), ("/p", "/w"), (ODD, ODD), ("/private/tmp/p", "/var/folders/w")],
)
def test_every_allowance_says_what_it_is_for(prefix: str, workspace: str) -> None:
    """An `allow` without a path, once it stands there, opens everything again."""
    text, _ = profile(prefix=prefix, workspace=workspace)

    for operation, *predicates in map(parsed, text.splitlines()):
        if operation == "allow":
            assert predicates[0] == "process-fork" or isinstance(predicates[-1], list), predicates
            assert [] not in predicates


@pytest.mark.parametrize("path", [ODD, "/a=b/c", "/a)(allow default)/b", '/x"))(allow default'])
def test_a_path_is_a_parameter_and_never_a_part_of_the_profile(path: str) -> None:
    text, given = profile(prefix=path, workspace=path + "/w")
    argv = a_seatbelt(path).plan(disk_bytes=1, workspace=path + "/w").argv

    assert path not in text
    assert "allow default" not in text
    assert set(re.findall(r'\(param "([A-Z0-9]+)"\)', text)) == set(given)
    assert f"W0={path}/w" in argv
    assert all(parsed(line) for line in text.splitlines())


def parsed(line: str) -> list[object]:
    """Read one expression of the profile's language; fail where it is not whole."""
    tokens = iter(re.findall(r'"[^"\\]*"|[()]|[^\s()"]+', line))

    def expression() -> Iterator[object]:
        for token in tokens:
            if token == ")":
                return
            yield list(expression()) if token == "(" else token
        raise AssertionError(f"not closed: {line}")

    assert next(tokens) == "("
    found = list(expression())
    assert list(tokens) == []
    return found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/tmp/x", ["/private/tmp/x", "/tmp/x"]),
        ("/private/var/folders/x", ["/private/var/folders/x", "/var/folders/x"]),
        ("/Users/u/x", ["/Users/u/x"]),
        ("/tmpx/y", ["/tmpx/y"]),
        ("/private/secret", ["/private/secret"]),
    ],
)
def test_a_path_is_named_as_it_is_spelled_and_as_the_system_resolves_it(
    path: str, expected: list[str]
) -> None:
    assert spellings(path) == expected
    assert resolved(path) == expected[0]


def test_the_mark_is_the_workspace_as_the_system_resolves_it() -> None:
    plan = a_seatbelt().plan(disk_bytes=1, workspace="/var/folders/w")

    assert plan.mark == "/private/var/folders/w/app"
    assert {"W0=/private/var/folders/w", "W1=/var/folders/w"} <= set(plan.argv)


# ---------------------------------------------------------------- why it did not start


def test_a_sandbox_around_lmboot_is_told_as_one() -> None:
    """Sandbox.md case 102."""
    means, hint = a_seatbelt().remedy("sandbox-exec: sandbox_apply: Operation not permitted")

    assert "outer sandbox" in means
    assert "nested" in means
    assert "Terminal" in hint


def test_any_other_failure_asks_for_a_report() -> None:
    means, hint = a_seatbelt().remedy("sandbox-exec: <string>:3: unbound variable\x1b[2J")

    assert "unbound variable" in means
    assert means.isprintable()
    assert "doctor --probe" in hint


def test_elsewhere_it_is_told_what_it_is() -> None:
    with pytest.raises(SandboxFault, match=re.escape("a part of macOS")) as caught:
        seatbelt.find()

    assert "--sandbox auto" in caught.value.hint


def test_macos_gets_no_limit_that_it_would_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {line.split()[0] for line in rlimits(Limits(), beside=None, system="darwin")}

    assert names == {"FSIZE", "NOFILE", "CORE", "CPU"}


# ---------------------------------------------------------------- what macOS tells, as bytes


def test_the_structures_have_the_sizes_of_the_headers() -> None:
    assert libproc.BSD_INFO.size == 136
    assert libproc.TASK_INFO.size == 96
    assert libproc.USAGE.size == 160


def test_what_a_process_has_used_is_read_from_its_place() -> None:
    fields = list(range(100, 118))
    fields[0:2] = [3_000, 4_000]  # its own user's and system's time
    fields[7], fields[8] = 5 << 20, 77  # the footprint; when it began
    fields[10:12] = [1_000, 2_000]  # those of the children that it waited for
    data = struct.pack("=16s18Q", bytes(range(16)), *fields)

    assert libproc.usage_in(data) == libproc.Usage(77, 7_000, 3_000, 5 << 20)
    apple = libproc.usage_in(data, numerator=125, denominator=3)
    assert (apple.own, apple.waited) == (7_000 * 125 // 3, 3_000 * 125 // 3)


def test_times_become_the_ticks_that_linux_counts_in() -> None:
    used = libproc.Usage(77, 2_500_000_000, 500_000_000, 0)

    assert facts_from(used, running=True) == Facts(
        77, int(2.5 * TICKS_PER_SECOND), TICKS_PER_SECOND // 2, running=True
    )


def test_a_list_of_processes_ends_where_the_kernel_left_off() -> None:
    assert libproc.pids_in(struct.pack("=5i", 12, 0, 34, -1, 56)) == [12, 34, 56]
    assert libproc.pids_in(struct.pack("=2i", 12, 34)[:-1]) == [12]
    assert libproc.pids_in(b"") == []


def test_the_owner_and_the_running_threads_are_read_from_their_places() -> None:
    whole = [1, 2, 3, 4, 5, 501, 6, 7, 8, 9, 10, 11]
    info = struct.pack("=12I16s32s5IiQQ", *whole, b"python", b"python", 1, 2, 3, 4, 5, 6, 7, 8)
    resting = struct.pack("=6Q12i", *range(6), *range(10), 0, 31)
    running = struct.pack("=6Q12i", *range(6), *range(10), 2, 31)

    assert libproc.user_in(info) == 501
    assert (libproc.is_running_in(resting), libproc.is_running_in(running)) == (False, True)
