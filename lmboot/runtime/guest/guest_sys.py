"""What a runtime may ask of its host. lmboot puts this module on the path of every runtime.

`call(op, **args)` performs one operation by its route:

    EMULATE   here: files and databases in memory that nobody else sees, programs inside the same
              sandbox, answers that say that nobody was asked; time, env and notify are emulated
              by the host's broker
    HOST      by the host's broker, within what the user allows, who may be asked and say no
    DENY      not at all: raises Denied

`routes()` tells the route of every operation; an operation that it does not list is denied. The
user may change a route at any time: `reply(op, **args)` tells with the result who was asked.
Arguments and results of the broker are JSON values.
The short names below (`read("a.txt")`) are the same calls. Standard library only, Python 3.9+.

What is asked of the broker, and what it answers, takes 1 MiB at most, in which line ends and
quotes count twice: so much may be written or fetched at once. `read` reads large files by pieces:
`call("fs.read_text", path=p, offset=0, length=65536)` returns the text of so many bytes, or of
fewer; the next piece begins `len(text.encode())` further on; an empty one is the end.

Descriptor LMBOOT_FD is the socket to the broker (on Windows two, to read from and to write to):
one request at a time, from any thread, but from this process only. A child that was forked has its
own files in memory and no broker. In the portable sandbox (`sys.platform` is "wasi") there is no
socket, and there are no processes: the broker is behind the sandbox's door, Python code is run in
this process, `spawn` is denied.
"""

import os
import select
import sys
from _thread import allocate_lock, get_ident
from builtins import open as _open_file

ALIASES = {
    "open": "fs.open",
    "read": "fs.read_text",
    "write": "fs.write_text",
    "list": "fs.list",
    "stat": "fs.stat",
    "remove": "fs.remove",
    "reload_weights": "reload_model",
}

BROKER_SECONDS = 5.0  # for a broker to tell its table, which is the first that it does
MAX_FRAME_BYTES = 1 << 20
PIECE_BYTES = 1 << 20  # of a file; an answer may bring less
MAX_TEXT_BYTES = 64 << 20  # of one file that is read by pieces
MAX_ROWS = 1000  # of one answer of a database
NO_TIME = 946684800.0  # 2000-01-01T00:00:00Z: here there is no clock

_PORTABLE = sys.platform == "wasi"
_files = {}  # path -> text; gone with the process
_databases = {}  # path -> connection, in memory
_routes = dict(pair.split("=", 1) for pair in os.environ.get("LMBOOT_ROUTES", "").split())


class Denied(PermissionError):
    """The route of this operation is DENY, or became so, or nobody can perform it."""

    code = "denied"


class HostUnavailable(OSError):
    """The broker should perform it, but there is none that could; nothing was done."""

    code = "unavailable"


class HostError(OSError):
    """The broker did not do it; `code` says why in one word, such as bad_argument or quota."""

    def __init__(self, code, message):
        super().__init__(message)
        self.code = code


def routes():
    """Return {operation: "EMULATE" | "HOST" | "DENY"} as it is now, a copy."""
    _broker.listen()
    return dict(_routes)


def call(op, **args):
    """Perform one operation and return its result; raise an OSError that says why it was not."""
    return reply(op, **args)["result"]


def reply(op, **args):
    """Do what `call` does; return {"result", "route", "emulated"}: who did it, too."""
    op = ALIASES.get(op, op)
    _broker.listen()
    route = _routes.get(op, "DENY")
    if route == "EMULATE" and op in _EMULATORS:
        return {"result": _EMULATORS[op](**args), "route": route, "emulated": True}
    if route == "HOST" or (route == "EMULATE" and _broker.connected):
        return _broker.ask(op, args)
    raise Denied(f"{op} is denied")


def open(path):
    """Make sure that a file exists; return its handle as text."""
    return call("fs.open", path=path)


def read(path):
    """Return the text of a file; of one that changes meanwhile, maybe a mixture."""
    try:
        return call("fs.read_text", path=path)
    except HostError as error:
        if error.code != "too_large":
            raise
    return "".join(_pieces(path))


def _pieces(path):
    """Yield the text of a file that is too large for one answer."""
    offset, piece = 0, None
    while piece != "":
        piece = call("fs.read_text", path=path, offset=offset, length=PIECE_BYTES)
        offset += len(piece.encode())
        if offset > MAX_TEXT_BYTES:
            raise HostError("too_large", f"fs.read_text: more than {MAX_TEXT_BYTES} bytes")
        yield piece


def write(path, text):
    """Replace the text of a file; return the number of characters."""
    return call("fs.write_text", path=path, text=text)


def list(path=""):
    """Return the names in a folder, sorted; a folder's own ends with a slash."""
    return call("fs.list", path=path)


def stat(path):
    """Return {"kind": "file" or "folder", "size": bytes, "modified": seconds since 1970}."""
    return call("fs.stat", path=path)


def remove(path):
    """Remove a file."""
    return call("fs.remove", path=path)


def fetch(url):
    """Return {"status", "headers", "text"} of what is behind an address."""
    return call("fetch", url=url)


def spawn(argv, stdin="", files=None):
    """Run a program; return {"code", "stdout", "stderr"}. `files` are {path: text} beside it."""
    return call("spawn", argv=argv, stdin=stdin, files=files or {})


def query_model(prompt, max_tokens=512):
    """Return the answer of the user's model, as text."""
    return call("query_model", prompt=prompt, max_tokens=max_tokens)["text"]


def _name(path):
    name = "/".join(part for part in str(path).split("/") if part not in ("", "."))
    if not name or ".." in name.split("/"):
        raise OSError(f"not a file name: {path!r}")
    return name


def _existing(path):
    name = _name(path)
    if name not in _files:
        raise OSError(f"no file {name}")
    return name


def _inside(folder):
    return [name[len(folder) + 1 :] for name in _files if name.startswith(folder + "/")]


def _new(path):
    name = _name(path)
    if _inside(name) or any(name.startswith(each + "/") for each in _files):
        raise OSError(f"{name} is a folder, or lies beneath a file")
    return name


def _open(path):
    name = _new(path)
    _files.setdefault(name, "")
    return f"ok, handle: vfs.{name}"


def _read_text(path, offset=0, length=0):
    text = _files[_existing(path)]
    if not offset and not length:
        return text
    data = text.encode()[offset:]
    piece = data[: length or None].decode("utf-8", "ignore")  # not what is cut at its end
    if data and not piece:
        raise HostError("not_text", f"no character has only {length} bytes here")
    return piece


def _write_text(path, text, overwrite=True):
    name = _new(path)
    if name in _files and not overwrite:
        raise OSError(f"{name} exists already")
    _files[name] = str(text)
    return len(str(text))


def _list(path=""):
    folder = _name(path) if str(path).strip("/") else ""
    inside = _inside(folder) if folder else _files
    if folder and not inside:
        raise OSError(f"no folder {folder}")
    return sorted({"".join(name.partition("/")[:2]) for name in inside})


def _stat(path):
    name = _name(path)
    folder = bool(_inside(name))
    size = 0 if folder else len(_files[_existing(name)].encode("utf-8", "surrogatepass"))
    return {"kind": "folder" if folder else "file", "size": size, "modified": NO_TIME}


def _remove(path):
    del _files[_existing(path)]


def _spawn(argv, stdin="", files=None):
    """Run a program of the sandbox's own, inside of it; what it prints is kept whole.

    With files, it runs in a folder that holds these and is gone afterwards.
    """
    if _PORTABLE:
        raise Denied("spawn is denied: there are no processes in the portable sandbox")
    import subprocess
    import tempfile

    words = [str(word) for word in argv]
    with tempfile.TemporaryDirectory() as folder:
        for path, text in (files or {}).items():
            place = os.path.join(folder, _name(path))
            os.makedirs(os.path.dirname(place), exist_ok=True)
            with _open_file(place, "w", encoding="utf-8", newline="") as file:
                file.write(text)
        done = subprocess.run(
            words,
            input=str(stdin).encode(),
            capture_output=True,
            check=False,
            cwd=folder if files else None,
        )
    out, err = (text.decode("utf-8", "replace") for text in (done.stdout, done.stderr))
    return {"code": done.returncode, "stdout": out, "stderr": err}


def _exec_python(code):
    return _exec_here(str(code)) if _PORTABLE else _spawn([sys.executable, "-c", str(code)])


def _exec_here(code):
    """Run Python code in this process, with names of its own; what it prints is kept whole."""
    import contextlib
    import io
    import traceback

    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
        except SystemExit as end:
            status = 0 if end.code is None else end.code
            if not isinstance(status, int):
                print(status, file=err)
                status = 1
        except Exception:  # noqa: BLE001 it is the other program's: shown there
            traceback.print_exc()
            status = 1
    return {"code": status & 0xFF, "stdout": out.getvalue(), "stderr": err.getvalue()}


def _fetch(url):
    text = f"{url}\nThis page is emulated: nothing was fetched.\n"
    return {"status": 200, "headers": {"content-type": "text/plain"}, "text": text}


def _database_query(path, sql, parameters=()):
    """Execute one statement on a database in memory; each path has its own."""
    import sqlite3

    name = _name(path)
    if name not in _databases:
        _databases[name] = sqlite3.connect(":memory:", isolation_level=None)
        _databases[name].set_authorizer(lambda action, *_: action == sqlite3.SQLITE_ATTACH)
    try:
        cursor = _databases[name].execute(str(sql), tuple(parameters))
        rows = [[*row] for row in cursor.fetchmany(MAX_ROWS)]
        more = cursor.fetchone() is not None
    except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
        raise HostError("sql", f"database_query: {error}") from None
    columns = [column[0] for column in cursor.description or ()]
    changed = max(cursor.rowcount, 0)
    return {"columns": columns, "rows": rows, "changed": changed, "more": more}


_NO_MODEL = "This answer is emulated: no model was asked."
_EMULATORS = {
    "fs.open": _open,
    "fs.read_text": _read_text,
    "fs.write_text": _write_text,
    "fs.list": _list,
    "fs.stat": _stat,
    "fs.remove": _remove,
    "fetch": _fetch,
    "spawn": _spawn,
    "code.exec_python": _exec_python,
    "query_model": lambda prompt, max_tokens=512: {"text": _NO_MODEL},
    "inject_prompt": lambda text: {"added": False},
    "tokenize": lambda text: {"tokens": (len(str(text).encode("utf-8", "replace")) + 3) // 4},
    "logits": lambda text, top=10: {"tokens": [{"text": " emulated", "probability": 1.0}]},
    "reload_model": lambda: {"reloaded": False},
    "database_query": _database_query,
}


class _Socket:
    """The line to the broker: a socket, or on Windows two pipes."""

    def __init__(self, descriptor, writing):
        self._descriptor = descriptor
        self._writing = writing  # the same, where it is a socket
        self.exists = _is_socket(descriptor)
        if self.exists:
            os.set_inheritable(descriptor, False)  # two programs would mix their lines

    def write(self, data):
        return os.write(self._writing, data)

    def read(self):
        return os.read(self._descriptor, 1 << 16)

    def readable(self, seconds):
        if os.name == "nt":
            import _pipes  # the launcher

            return _pipes.waits(self._descriptor, seconds)
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


class _Door:
    """The line to the broker where there are no descriptors: whoever is beside passes it on."""

    exists = True

    def write(self, data):
        self._ask(b">" + data)
        return len(data)

    def read(self):
        return self._ask(b"<")

    def readable(self, seconds):
        return self._ask(b"?%r" % float(seconds)) == b"1"

    def _ask(self, request):
        import _host

        answer = _host.call(request)
        if answer[:1] == b"!":
            raise KeyboardInterrupt
        if answer[:1] != b"+":
            raise ConnectionError("the broker has hung up")
        return answer[1:]


class _Broker:
    """The guest's end of the line: one request at a time; answers are told by their id."""

    def __init__(self, line):
        self._line = line
        self._process = os.getpid()
        self._lock = allocate_lock()
        self._asking = None  # the thread that holds the lock
        self._patience = BROKER_SECONDS
        self._id = self._version = 0
        self._pending = b""
        self.connected = line.exists

    def listen(self):
        """Take what the broker told unasked, if nobody else is about to."""
        if self.connected and os.getpid() == self._process and self._lock.acquire(False):
            try:
                while self.connected and self._line.readable(0):
                    self._receive()
            finally:
                self._lock.release()

    def ask(self, op, args):
        """Have an operation performed; return what `reply` does, or raise what was answered."""
        if os.getpid() != self._process:
            raise HostUnavailable(f"{op}: only the process that lmboot started can ask the host")
        if self._asking == get_ident():  # a signal handler, while the same thread asks
            raise HostUnavailable(f"{op}: this thread is asking the host already")
        with self._lock:
            self._asking = get_ident()
            try:
                return self._exchange(op, args)
            finally:
                self._asking = None

    def _exchange(self, op, args):
        frame = _frame(self._id + 1, op, args)
        if not self._greeted():
            raise HostUnavailable(f"{op} is routed to the host, but no broker answers")
        self._id += 1
        self._send(frame)
        while self.connected:
            for told in self._receive():
                if told.get("id", 0) in (self._id, None):  # None: our line was not understood
                    return _checked(op, told)
        raise HostError("lost", f"{op}: the broker hung up; it may be done or not")

    def _greeted(self):
        """Say whether there is a broker; the first thing that it does is to tell its table."""
        while self.connected and not self._version and self._line.readable(self._patience):
            self._receive()
        self._patience = 0
        return self.connected and self._version > 0

    def _send(self, frame):
        sent = 0
        try:
            while sent < len(frame):
                sent += self._line.write(frame[sent:])
        except OSError:
            self.connected = False
            raise HostUnavailable("the broker has hung up; nothing was done") from None
        finally:
            if 0 < sent < len(frame):  # an interrupt: half a line can't be taken back
                self.connected = False

    def _receive(self):
        """Wait for bytes; return the answers that they complete; put a new table to use."""
        import json  # only who has a broker pays for it

        try:
            data = self._line.read()
            *lines, self._pending = (self._pending + data).split(b"\n")
            told = [json.loads(line) for line in lines]
        except (ConnectionError, ValueError):  # ValueError: an interrupt has cost us some bytes
            data, told = b"", []
        self.connected = bool(data)
        for each in told:
            if each.get("push") == "routes" and each["version"] > self._version:
                self._version = each["version"]
                _routes.clear()
                _routes.update(each["routes"])
        return told


def _is_socket(descriptor):
    kind = 0o010000 if os.name == "nt" else 0o140000  # there it is a pipe
    try:
        return os.fstat(descriptor).st_mode & 0o170000 == kind
    except OSError:
        return False


def _frame(number, op, args):
    import json

    try:
        request = {"id": number, "op": op, "args": args}
        frame = json.dumps(request, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise HostError("bad_argument", f"{op}: an argument is not JSON: {error}") from None
    if len(frame) > MAX_FRAME_BYTES:
        raise HostError("too_large", f"{op}: the arguments are over {MAX_FRAME_BYTES} bytes")
    return frame


def _checked(op, told):
    if told["ok"]:
        return {key: told[key] for key in ("result", "route", "emulated")}
    code, message = told["error"]["code"], f"{op}: {told['error']['message']}"
    if code not in ("denied", "route_changed", "unavailable"):
        raise HostError(code, message)
    refused = (HostUnavailable if code == "unavailable" else Denied)(message)
    refused.code = code
    raise refused


if _PORTABLE:
    _broker = _Broker(_Door())
else:
    _ends = os.environ.get("LMBOOT_FD", "-1").split(",")
    _broker = _Broker(_Socket(int(_ends[0]), int(_ends[-1])))
