"""The hostile cases, by number: what each is, and what a back end can't hold of it.

1 to 102 are those of the sandbox's reference; from 103 on they are this project's own. A test says
which it holds: `@pytest.mark.case(28)`. What can be tried from inside a sandbox is tried in every
back end, by a test that is given the back end as `sandbox`; the rest once, beside any sandbox.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["partial", "absent", "n/a"]


@dataclass(frozen=True, slots=True)
class Section:
    """Cases that belong together; those `inside` are tried in every back end."""

    name: str
    numbers: tuple[int, ...]
    inside: frozenset[int]


@dataclass(frozen=True, slots=True)
class Exemption:
    """What a back end does not hold of a case, and why.

    `property` is the one of its posture that says so; "" only where nothing of it can be tried.
    `tried`: the tests of all back ends are run in it too, since they ask no more than it holds.
    """

    level: Level
    reason: str
    property: str = ""
    tried: bool = False


_OUT = (*range(28, 55), *range(103, 115))
_MUCH = (*range(55, 72), *range(115, 122))
SECTIONS = (
    Section("What a payload can hold", tuple(range(1, 28)), frozenset({24, 25})),
    Section("Getting out, and looking around", _OUT, frozenset(_OUT)),
    Section("Using too much, and not ending", _MUCH, frozenset(_MUCH)),
    Section(
        "What the broker is asked",
        (*range(72, 94), *range(122, 127), 130),
        frozenset({*range(72, 80), 122, 124, 125, 126}),
    ),
    Section("Evidence, and the choice", (*range(94, 103), *range(127, 130)), frozenset()),
)
INSIDE = frozenset[int]().union(*(section.inside for section in SECTIONS))

WORDS = {
    1: "paths with ..",
    2: "absolute paths",
    3: "drive letters",
    4: "network and device paths of Windows",
    5: "reserved names of Windows",
    6: "alternate data streams",
    7: "trailing dots and spaces",
    8: "NUL in a path",
    9: "one name in two normal forms",
    10: "names that differ in case only",
    11: "full-width dots and slashes",
    12: "a file that is another's folder",
    13: "links, modes, devices as fields",
    14: "a million files",
    15: "one string of gigabytes",
    16: "JSON a hundred thousand deep",
    17: "a key twice",
    18: "NaN, endless numbers, half characters",
    19: "a route that is almost HOST",
    20: "an operation in look-alike letters",
    21: "a shell's characters in the entrypoint",
    22: "an interpreter's options in it",
    23: "an entrypoint that is no file of it",
    24: "modules that pose as Python's own",
    25: ".pth, pyvenv.cfg, .pyc",
    26: "a second payload in what is printed",
    27: "byte order marks, fences, what trails",
    28: "the user's keys and files",
    29: "the system's accounts and names",
    30: "writing to the system",
    31: "the environment",
    32: "other processes in /proc",
    33: "open files that came along",
    34: "tracing and reading processes",
    35: "signals to everybody",
    36: "servers here and in the net",
    37: "every family of sockets",
    38: "abstract sockets (X11, D-Bus)",
    39: "sockets in the file system",
    40: "the screen and the keyboard",
    41: "the kernel's key rings",
    42: "io_uring, bpf, userfaultfd, modules",
    43: "new namespaces",
    44: "mount, chroot, pivot_root",
    45: "calls in another dialect",
    46: "typing into a terminal",
    47: "setuid programs",
    48: "links left for the next run",
    49: "overwriting what runs",
    50: "a folder swapped for a link",
    51: "shared memory with the host",
    52: "core dumps",
    53: "native code of the payload",
    54: "the machine's name",
    55: "a fork bomb",
    56: "a memory bomb",
    57: "filling the disk, a million files, holes",
    58: "output without end",
    59: "a flood of control characters",
    60: "bytes that are no text",
    61: "what a terminal obeys",
    62: "output that poses as lmboot",
    63: "input that nobody reads",
    64: "closed output",
    65: "daemons",
    66: "ignored signals, stopped processes",
    67: "a grandchild that holds the pipe",
    68: "lmboot killed in the middle",
    69: "stopping at every moment of a launch",
    70: "timers of the host (at, cron)",
    71: "sixty processes that spin",
    72: "lines without end, floods of tiny ones",
    73: "one byte now and then",
    74: "wrong types",
    75: "ids again, answers as requests",
    76: "wild names of operations",
    77: "descriptors sent along",
    78: "half closed, gone, two writers",
    79: "claiming a route",
    80: "a flip before the effect",
    81: "a storm of flips",
    82: "links swapped in while we look",
    83: "hard links, FIFOs, devices, /proc",
    84: "sixty-four writers and one quota",
    85: "every spelling of loopback",
    86: "names that change their mind",
    87: "redirects to elsewhere",
    88: "bombs and drips for an answer",
    89: "line ends and users in a URL",
    90: "proxies, netrc, cookies",
    91: "a shell or a relative program",
    92: "a model that asks the model",
    93: "truths of the host when emulating",
    94: "an audit log edited or cut",
    95: "records forged through a name",
    96: "a full disk before the effect",
    97: "a crash in between",
    98: "a false bwrap in PATH",
    99: "bwrap there, namespaces forbidden",
    100: "a back end that lies",
    101: "limits that nobody holds",
    102: "a sandbox within a sandbox (macOS)",
    103: "magic links of /proc",
    104: "being told what happens in folders",
    105: "READY, RUN and FAULT forged",
    106: "code from memory and nameless files",
    107: "the clock's namespace",
    108: "priorities, processors, real time",
    109: "raising one's own limits",
    110: "handles of processes (pidfd)",
    111: "the launcher's own files",
    112: "names that a file system turns round",
    113: "its own memory through /proc",
    114: "what another run left behind",
    115: "files that only a mapping holds",
    116: "zombies without number",
    117: "forks in a storm while it ends",
    118: "signals to the supervisor",
    119: "descriptors parked in sockets",
    120: "the channel kept by a child",
    121: "a ceiling met by turns",
    122: "denials in a flood",
    123: "a question with hidden characters",
    124: "requests of which most are no JSON",
    125: "answers that nobody reads",
    126: "a run beside one that floods",
    127: "no word of a secret on file",
    128: "a proof of another day",
    129: "a name for a lesser sandbox",
    130: "lmboot's own files through a grant",
}

# What cannot be tried on Linux; a plan that is tested as a value may hold it all the same.
NOT_HERE = {102: "only macOS has sandbox-exec; what its refusal means is tested as a value there"}

# In these every attack on the sandbox is tried by the same programs; in the portable one by those
# that can be begun there. firejail as root is refused, which its own tests tell.
FULL = ("bubblewrap", "landlock", "podman")
COLUMNS = (*FULL, "wasm")
BY_HAND = ("docker",)  # its service is not on every machine: `python -m tests.soak docker`

_NO_PROCESSES = (34, 35, 66, 67, 70, 104, 116, 117, 118, 119, 120, 121)
_NO_CALLS = (41, 42, 43, 44, 45, 51, 52, 107, 108, 109, 110, 115)

EXEMPT: dict[tuple[int, str], Exemption] = {
    **{
        (number, "wasm"): Exemption("n/a", "inside there is one process, which can make no other")
        for number in _NO_PROCESSES
    },
    **{
        (number, "wasm"): Exemption("n/a", "no call of the system's can be made inside")
        for number in _NO_CALLS
    },
    (29, "landlock"): Exemption(
        "partial", "refused, not hidden: that they are there can be seen", "fs_read"
    ),
    (32, "landlock"): Exemption(
        "partial", "which process numbers are taken can be found out", "proc_view"
    ),
    (54, "landlock"): Exemption(
        "partial", "it reads the machine's name; it resolves none", "host_name"
    ),
    (57, "landlock"): Exemption(
        "partial",
        "its disk is watched: it may fill more for a moment, and is ended",
        "disk_total",
        tried=True,
    ),
    (77, "wasm"): Exemption("n/a", "the channel is behind a door that takes bytes, nothing else"),
    **{
        (number, "docker"): Exemption(
            "partial", "what the kernel lets each process set of itself in /proc", "fs_write"
        )
        for number in (30, 113)
    },
}

# What may hold in part though no case does, and why.
BESIDE_THE_CASES = {
    "own_paths": "which folders are its own is what a program expects, and no border",
}
# These hold in part where no control group can be had: the table is that of a user who has one.
BY_CONTROL_GROUP = ("pids", "mem_total", "cpu_rate")


def level(number: int, backend: str) -> str:
    """Return what a back end makes of a case: held, or what it is exempt for."""
    exempt = EXEMPT.get((number, backend))
    return "held" if exempt is None else exempt.level
