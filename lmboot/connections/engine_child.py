"""The process that llama.cpp runs in; started by `engine` as a script, never imported by lmboot.

One JSON line comes in on stdin: `{"model", "alias", "api_key", "context", "threads", "program"}`.
One goes out on stdout once the model is loaded: `{"url"}`. From then on it serves HTTP until stdin
closes, and ends at once, whatever is being answered. `program` is the path of a `llama-server`, or
null for xllamacpp inside this process. Messages go to stderr. Needs nothing of lmboot.
What only `llama-server` needs is imported there: it would add a third to the usual start.

Run on Linux; elsewhere a parent that is killed while a model loads is noticed only after the load.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import subprocess

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.03
_ERRORS_ONLY = 1
_PROMPT_CACHE_MIB = 512  # llama.cpp's own 8 GiB is a server's; this holds a few conversations
_ADDRESS = "127.0.0.1"
_OK, _UNAUTHORIZED = 200, 401


def main() -> NoReturn:
    """Serve the model that stdin names until stdin closes."""
    die_with_parent()
    answers = _claim_stdout()
    line = sys.stdin.buffer.readline()
    if not line:
        os._exit(0)
    order: dict[str, Any] = json.loads(line)
    try:
        if order["program"] is None:
            _serve_inside(order, answers)
        else:
            _serve_by_program(order, answers)
    except (ImportError, OSError, RuntimeError) as exc:
        print(f"engine error: {type(exc).__name__}: {exc}", file=sys.stderr, flush=True)
    os._exit(1)  # at once: the native library's own way out can hang


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent is gone (Linux; elsewhere nothing)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _claim_stdout() -> int:
    """Return a private stdout; what the native library prints to its own goes to stderr."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _say_ready(answers: int, url: str) -> None:
    os.write(answers, json.dumps({"url": url}).encode() + b"\n")


def _wait_for_end_of_input() -> None:
    while os.read(0, 4096):
        pass


def _serve_inside(order: dict[str, Any], answers: int) -> NoReturn:
    import xllamacpp  # 100 MB: only where it is needed

    parameters = _parameters(xllamacpp, order)
    try:
        server = xllamacpp.Server(parameters)  # holds the GIL until it is loaded
    except RuntimeError:
        finish_log(xllamacpp.xllamacpp.__file__)
        raise
    _say_ready(answers, server.listening_address)
    _wait_for_end_of_input()
    os._exit(0)  # dropping the server would wait for the answer in progress


def finish_log(library: str) -> None:
    """Have llama.cpp's log written to its end: a thread writes it, which `_exit` would cut short.

    Where the library does not show these functions, as on Windows, the cause may be missing.
    """
    llama = ctypes.CDLL(library)
    with contextlib.suppress(AttributeError):
        log, pause = llama._Z15common_log_mainv, llama._Z16common_log_pauseP10common_log
        log.restype, pause.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        pause(log())  # returns when the thread has written all and ended


def _parameters(xllamacpp: Any, order: dict[str, Any]) -> Any:
    chosen = xllamacpp.CommonParams()
    chosen.model.path = order["model"]
    chosen.model_alias = {order["alias"]}
    chosen.n_ctx = order["context"]
    chosen.n_parallel = 1  # several would share the context between them
    chosen.cpuparams.n_threads = chosen.cpuparams_batch.n_threads = order["threads"]
    chosen.hostnames = [_ADDRESS]
    chosen.port = 0
    chosen.api_keys = [order["api_key"]]
    chosen.ui = False
    chosen.cors_origins = "localhost"  # the default lets every web page in
    chosen.cache_ram_mib = _PROMPT_CACHE_MIB
    chosen.verbosity = _ERRORS_ONLY
    return chosen


def _serve_by_program(order: dict[str, Any], answers: int) -> NoReturn:
    import subprocess
    import threading

    port = _free_port()
    process = subprocess.Popen(
        _command(order, port),
        stdin=subprocess.DEVNULL,
        env=_environment(order["api_key"]),
        preexec_fn=die_with_parent if sys.platform == "linux" else None,
    )
    threading.Thread(target=_end_with_input, args=(process,), daemon=True).start()
    _wait_until_ready(process, port)
    _say_ready(answers, f"http://{_ADDRESS}:{port}")
    process.wait()
    os._exit(1)


def _end_with_input(process: subprocess.Popen[bytes]) -> NoReturn:
    _wait_for_end_of_input()
    process.kill()
    process.wait()
    os._exit(0)


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((_ADDRESS, 0))
        port: int = probe.getsockname()[1]
        return port


def _command(order: dict[str, Any], port: int) -> list[str]:
    """Return the command line, in words that old and new builds know; no key, it can be seen."""
    values = {
        "-m": order["model"],
        "-c": order["context"],
        "-t": order["threads"],
        "-np": 1,
        "--host": _ADDRESS,
        "--port": port,
        "--alias": order["alias"],
    }
    return [order["program"], *(str(word) for pair in values.items() for word in pair)]


def _environment(api_key: str) -> dict[str, str]:
    """Return settings whose flags differ between builds; a build ignores what it doesn't know."""
    return os.environ | {
        "LLAMA_API_KEY": api_key,
        "LLAMA_ARG_UI": "0",
        "LLAMA_ARG_WEBUI": "0",
        "LLAMA_ARG_NO_WEBUI": "1",
        "LLAMA_ARG_CORS_ORIGINS": "localhost",
    }


def _wait_until_ready(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait for the load, however long; refuse a server that would answer without the key."""
    while _status(port, "/health") != _OK:
        if process.poll() is not None:
            raise RuntimeError(f"llama-server ended with status {process.returncode}")
        time.sleep(_POLL_SECONDS)
    if _status(port, "/v1/models", "wrong") != _UNAUTHORIZED:
        process.kill()
        process.wait()
        raise RuntimeError("this llama-server takes no key from LLAMA_API_KEY; it is too old")


def _status(port: int, path: str, key: str = "") -> int:
    """Return the HTTP status that a path gets, 0 when there is no answer."""
    import http.client

    connection = http.client.HTTPConnection(_ADDRESS, port, timeout=5)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {key}"} if key else {})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


if __name__ == "__main__":
    main()
