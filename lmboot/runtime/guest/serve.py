"""Call functions for the host, one at a time, until it hangs up: the program of a worker.

Descriptor LMBOOT_FD is the socket of the calls; `lmboot/runtime/calls.py` says what passes over
it. The first line, with the id 0, tells whether a second socket comes along: that one is the
broker's, and takes the first one's place in LMBOOT_FD, so that `guest_sys` finds it there.

What a function prints, leaves in memory or raises is its own affair; an exception is an answer.
SystemExit ends the worker. Standard library only, Python 3.9+.
"""

import sys

if __name__ == "__main__":
    # What is imported here must be the library's, whatever names the worker's own files have.
    theirs = sys.path[1:3]  # the workspace and the host's library; before them, this folder
    del sys.path[:3]

import array
import json
import math
import os
import socket
import traceback

assert sys.platform != "win32"  # noqa: S101 workers are not made there

MAX_FRAME_BYTES = 16 << 20  # these as in calls.py, where they are enforced
MAX_VALUES = 100_000
MAX_DEPTH = 32
MAX_INTEGER = 2**53

MAX_DESCRIPTORS = 8
MAX_NAME, MAX_MESSAGE, MAX_TRACEBACK = 200, 2000, 10_000  # characters that are told of an error
MAX_FRAMES = 20  # of a traceback, the innermost
PIECE_BYTES = 1 << 16
_CLOSED_ON_EXEC = getattr(socket, "MSG_CMSG_CLOEXEC", 0)  # macOS has it not

_to_json = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(message: object) -> bytes:
    """Return a message's frame; raise ValueError with the reason why it can't be told."""
    found = flaw(message)
    if found:
        raise ValueError(f"the result can't be told: {found}")
    try:
        frame = _to_json(message).encode() + b"\n"
    except UnicodeEncodeError:
        raise ValueError("the result can't be told: half of a surrogate pair") from None
    if len(frame) > MAX_FRAME_BYTES:
        raise ValueError(f"the result can't be told: it is longer than {MAX_FRAME_BYTES:,} bytes")
    return frame


def flaw(message: object) -> str:
    """Return what keeps a message from being strict JSON within the limits; "" if nothing does."""
    level, count = [message], 0
    for depth in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_VALUES:
            return f"it has more than {MAX_VALUES:,} values"
        below: list[object] = []
        for value in level:
            if depth == MAX_DEPTH and isinstance(value, (list, tuple, dict)):
                return f"it is nested deeper than {MAX_DEPTH} levels"
            if isinstance(value, (list, tuple)):
                below += value
            elif isinstance(value, dict):
                if not all(isinstance(key, str) for key in value):
                    return "a key is no text"
                below += value.values()
            elif not _is_plain(value):
                return f"{type(value).__name__} is no JSON value, or out of its range"
        level = below
    return ""


def _is_plain(value: object) -> bool:
    if isinstance(value, int):  # a bool too
        return -MAX_INTEGER <= value <= MAX_INTEGER
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str)


def receive(channel: socket.socket) -> "tuple[dict[str, object], list[int]]":
    """Wait for a line; return what it tells, and the descriptors that came along."""
    line, descriptors = bytearray(), array.array("i")
    room = socket.CMSG_LEN(MAX_DESCRIPTORS * descriptors.itemsize)
    while not line.endswith(b"\n"):
        data, beside, _, _ = channel.recvmsg(PIECE_BYTES, room, _CLOSED_ON_EXEC)
        for _, _, numbers in beside:
            descriptors.frombytes(numbers)
        if not data:
            os._exit(0)  # the host has hung up
        line += data
    return json.loads(line), descriptors.tolist()


def answer(asked: "dict[str, object]", descriptors: "list[int]") -> bytes:
    """Call the function; return the frame of what it returned or raised."""
    number = asked["id"]
    try:
        return encode({"id": number, "value": perform(asked, descriptors)})
    except SystemExit as leaving:
        leave(leaving)
    except BaseException as error:  # noqa: BLE001 whatever it is: the host must hear of it
        return encode({"id": number, "raised": told(error)})
    raise AssertionError("leaving does not come back")


def perform(asked: "dict[str, object]", descriptors: "list[int]") -> object:
    """Call the function with its arguments; close afterwards what it was handed."""
    opened = [(number, identity(number)) for number in descriptors]
    more = {"descriptors": descriptors} if descriptors else {}
    try:
        module, _, name = str(asked["function"]).partition(":")
        if module not in sys.modules:
            __import__(module)
        function = getattr(sys.modules[module], name)
        args, named = asked["args"], asked["named"]
        return function(*args, **named, **more)  # type: ignore[misc, arg-type]  # the host's
    finally:
        for number, was in opened:
            if was == identity(number):  # else it was closed, and the number may be another's
                os.close(number)


def identity(descriptor: int) -> "tuple[int, int] | None":
    """Return what tells one open file from another; None when there is none of that number."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def told(error: BaseException) -> "dict[str, str]":
    """Return what is told of an exception: its type, its message, the function's own frames."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    try:
        message = str(error)
        lines = traceback.format_exception(type(error), error, frames, limit=-MAX_FRAMES)
    except BaseException as another:  # noqa: BLE001 an exception that can't be shown either
        message, lines = f"can't be shown: {type(another).__name__}", []
    return {
        "type": _cut(type(error).__name__, MAX_NAME),
        "message": _cut(message, MAX_MESSAGE),
        "traceback": _cut("".join(lines)[-MAX_TRACEBACK:], MAX_TRACEBACK),
    }


def _cut(text: str, limit: int) -> str:
    return text[:limit].encode("utf-8", "replace").decode()


def leave(error: SystemExit) -> None:
    """End the worker with the status that the exception asks for; threads do not hold it."""
    code = error.code
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)  # as the interpreter does
        code = 1
    os._exit((code or 0) & 0xFF)


def hear_no_input() -> None:
    """Let nobody wait for what will never be typed."""
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)


def greet(channel: socket.socket) -> None:
    """Take the first line, and the broker's socket if there is one."""
    greeting, descriptors = receive(channel)
    for number in descriptors:
        os.environ["LMBOOT_FD"] = str(number)
    channel.sendall(encode({"id": greeting["id"], "value": None}))


def serve() -> None:
    """Answer calls until the host hangs up."""
    channel = socket.socket(fileno=int(os.environ.pop("LMBOOT_FD")))
    channel.set_inheritable(False)
    hear_no_input()
    greet(channel)
    process = os.getpid()
    while True:
        asked, descriptors = receive(channel)
        frame = answer(asked, descriptors)
        if os.getpid() != process:  # a child that the function forked and that came back
            os._exit(0)
        channel.sendall(frame)


if __name__ == "__main__":
    sys.path[:0] = theirs
    serve()
