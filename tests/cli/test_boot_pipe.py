"""A session by pipe, as the contract has it, from outside."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from tests.cli.program import ECHO, Bench, payload

# ---------------------------------------------------------------- the contract's example


async def test_the_example_of_the_contract(bench: Bench) -> None:
    """One session of the seed model, event by event; its words may differ."""
    lines = [":rt cat a.txt", ":ai hello", ":ai+ what was that?", ":quit"]

    done = await bench.run("boot", "--model", "seed", "--yes", "--json", lines=lines)

    first, started, ready, *others = done.objects
    assert first["pane"] == "sys"
    assert first["event"] == "payload"
    summary = r"payload [0-9a-f]{12}… accepted: 1 file, python guest_shell\.py"
    assert re.fullmatch(summary, first["text"])
    assert started == {"pane": "sys", "text": "runtime started in bubblewrap", "event": "started"}
    assert ready == {"pane": "rt", "text": "AI-RT> ready"}
    assert others[:3] == [
        {"pane": "you", "text": ":rt cat a.txt"},
        {"pane": "rt", "text": "error: no file a.txt"},
        {"pane": "you", "text": ":ai hello"},
    ]
    assert "".join(done.pane("ai")).strip()
    assert others[-2:] == [
        {"pane": "you", "text": ":quit"},
        {"pane": "sys", "text": "runtime ended", "event": "ended", "code": 0},
    ]
    assert (done.code, done.events) == (0, ["payload", "started", "ended"])


async def test_a_trigger_bootstraps_anew_within_the_session(bench: Bench) -> None:
    lines = [":rt write a.txt x", ":ai ### BOOTSTRAP_RUNTIME ###", ":rt cat a.txt"]

    done = await bench.run("boot", "--model", "seed", "--yes", "--json", lines=lines)

    assert done.code == 0
    assert done.events == ["payload", "started", "payload", "ended", "started", "ended"]
    assert done.pane("rt")[-1] == "error: no file a.txt"


# ---------------------------------------------------------------- lines


async def test_lines_go_where_they_belong(bench: Bench) -> None:
    lines = [":rt one", "two", ":nonsense", ":ai hello", "bare", ":rt ", ":quit", ":rt never"]

    done = await bench.boot(ECHO, lines=lines)

    assert done.pane("rt") == ["ready", "you said one", "you said two", "you said "]
    assert done.pane("you") == lines[:-1]
    sys = done.pane("sys")[2:]
    assert ":nonsense" in sys[0]
    assert sys[1:] == ["there is no model in this session"] * 2 + ["runtime ended"]
    assert done.code == 0


@pytest.mark.parametrize("data", [b"", b":quit", b"a\r\n:quit\r\n", b"a"])
async def test_the_last_line_may_end_in_any_way(bench: Bench, data: bytes) -> None:
    done = await bench.boot(ECHO, lines=data)

    said = ["you said a"] if data.startswith(b"a") else []
    assert (done.code, done.pane("rt")) == (0, ["ready", *said])
    assert done.events == ["payload", "started", "ended"]


async def test_without_json_each_line_begins_with_its_pane(bench: Bench) -> None:
    program = """\
import sys
print("ready")
print("oh", file=sys.stderr, flush=True)
print("> ", end="", flush=True)
input()
print("\\x1b[31mred\\x1b[0m\\u202e")
"""
    file = bench.payload(program)

    done = await bench.run("boot", "--payload", file, "--yes", lines=[":rt x"])

    lines = done.out.splitlines()
    assert re.match(r"sys\| payload [0-9a-f]{12}… accepted: 1 file, python main\.py$", lines[0])
    assert lines[1] == "sys| runtime started in bubblewrap"
    assert set(lines[2:5]) == {"rt| ready", "rt!| oh", "rt| > "}
    assert lines[5:] == ["you| :rt x", "rt| red", "sys| runtime ended"]
    assert done.err == ""


async def test_prompts_without_a_newline_are_answers_in_halves(bench: Bench) -> None:
    program = """\
while True:
    try:
        line = input("AI-RT> ")
    except EOFError:
        print("\\nbye")
        break
    print("ok", line, flush=True)
"""

    done = await bench.boot(program, lines=[":rt a", ":rt b"])

    rt = [
        (each["text"], each.get("partial", False)) for each in done.objects if "rt" in each["pane"]
    ]
    assert rt == [
        ("AI-RT> ", True),
        ("ok a", False),
        ("AI-RT> ", True),
        ("ok b", False),
        ("AI-RT> ", True),
        ("", False),
        ("bye", False),
    ]


async def test_a_line_of_ten_mebibytes_comes_back_whole(bench: Bench) -> None:
    text = "x" * (10 << 20)
    program = "print('ready', flush=True)\nprint(input(), flush=True)\ninput()"

    done = await bench.boot(program, lines=f":rt {text}\n:quit\n".encode())

    assert done.code == 0
    assert "".join(done.pane("rt")[1:]) == text


async def test_input_may_stay_open_after_quit(bench: Bench) -> None:
    file = bench.payload(ECHO)
    async with bench.started("boot", "--payload", file, "--yes", "--json") as session:
        await session.say(":quit")

        done = await session.over()

    assert (done.code, done.events[-1]) == (0, "ended")


async def test_lines_are_taken_as_they_come(bench: Bench) -> None:
    file = bench.payload(ECHO)
    async with bench.started("boot", "--payload", file, "--yes", "--json") as session:
        for word in ("one", "two"):
            await session.say(f":rt {word}")
            assert await session.until("you said")
        done = await session.end()

    assert done.pane("rt") == ["ready", "you said one", "you said two"]
    assert done.code == 0


async def test_input_that_is_closed_is_the_end_of_file(bench: Bench) -> None:
    file = bench.payload(ECHO)
    command = ("boot", "--payload", file, "--yes", "--json")
    async with bench.started(*command, stdin=-3) as session:  # -3: DEVNULL
        done = await session.over()

    assert (done.code, done.events) == (0, ["payload", "started", "ended"])


async def test_a_runtime_that_prints_nothing_is_said_after_the_wait(bench: Bench) -> None:
    done = await bench.boot("input()", "--wait", "0.2", lines=[":rt x"])

    assert done.event("wait")["pane"] == "sys"
    assert "0.2 seconds" in done.event("wait")["text"]
    assert done.code == 0


# ---------------------------------------------------------------- payloads


async def test_a_payload_of_many_files_is_an_ordinary_program(bench: Bench) -> None:
    files = {
        "app/main.py": "import helper, lib.deep\nfrom guest_sys import mine\n"
        "print(helper.NAME, lib.deep.NAME, mine, open('data/é.txt').read(), flush=True)",
        "app/helper.py": "NAME = 'helper'",
        "lib/deep.py": "NAME = 'deep'",
        "guest_sys.py": "mine = 'my own'",
        "data/é.txt": "text",
    }
    file = bench.payload(files)

    done = await bench.run("boot", "--payload", file, "--yes", "--json")

    assert "accepted: 5 files, python app/main.py" in done.event("payload")["text"]
    assert done.pane("rt") == ["helper deep my own text"]
    assert done.code == 0


async def test_with_a_dash_all_of_the_input_is_the_payload(bench: Bench) -> None:
    text = f"Here you are:\n```json\n{payload(ECHO)}\n```\n:rt never a command\n"

    done = await bench.run("boot", "--payload", "-", "--yes", "--json", lines=text.encode())

    assert (done.code, done.pane("rt"), done.pane("you")) == (0, ["ready"], [])
    assert done.events == ["payload", "started", "ended"]


async def test_the_hash_is_that_of_the_normalised_form(bench: Bench) -> None:
    file = bench.payload(ECHO)
    checked = await bench.run("check", file, "--json")
    form = json.dumps(
        json.loads(checked.out)["payload"], sort_keys=True, separators=(",", ":")
    ).encode()

    done = await bench.run("boot", "--payload", file, "--yes", "--json")

    assert hashlib.sha256(form).hexdigest()[:12] in done.event("payload")["text"]


async def test_a_refused_payload_tells_its_problems_and_runs_nothing(bench: Bench) -> None:
    text = payload(ECHO).replace("python main.py", "bash main.py")

    done = await bench.run("boot", "--payload", "-", "--yes", "--json", lines=text.encode())

    assert (done.code, done.events) == (1, ["refused"])
    (problem,) = done.event("refused")["problems"]
    assert (problem["code"], problem["where"]) == ("entrypoint", "entrypoint")
    assert "must begin with python" in done.err
    assert bench.kept == []


# ---------------------------------------------------------------- consent


async def test_without_yes_and_without_a_terminal_nothing_is_run(bench: Bench) -> None:
    file = bench.payload("print('ran')")

    done = await bench.run("boot", "--payload", file, "--json")

    assert (done.code, done.events) == (2, ["payload", "error"])
    assert "--yes" in done.err
    assert done.pane("rt") == []


async def test_yes_is_no_agreement_for_another_time(bench: Bench) -> None:
    await bench.boot("print('ran')")

    again = await bench.run("boot", "--payload", str(bench.folder / "payload.json"), "--json")

    assert (again.code, len(bench.kept)) == (2, 1)


async def test_running_without_a_sandbox_needs_its_own_word(bench: Bench) -> None:
    refused = await bench.boot("print('ran')", "--sandbox", "none")
    agreed = await bench.boot("print('ran')", "--sandbox", "none", "--no-border")

    assert (refused.code, refused.events) == (2, ["error"])
    assert "--no-border" in refused.err
    assert (agreed.code, agreed.pane("rt")) == (0, ["ran"])
    assert agreed.event("started")["text"] == "runtime started in none"


async def test_no_border_alone_neither_agrees_nor_removes_the_sandbox(bench: Bench) -> None:
    file = bench.payload("print('ran')")

    nobody = await bench.run("boot", "--payload", file, "--json", "--no-border")
    bordered = await bench.boot("print('ran')", "--no-border")

    assert nobody.code == 2
    assert bordered.event("started")["text"] == "runtime started in bubblewrap"


# ---------------------------------------------------------------- files that a runtime wrote

WRITES = """\
import os
os.mkdir("out")
open("out/a.txt", "w").write("text")
open("main.py", "a").write("# changed")
os.symlink("/etc/passwd", "link")
print("ready", flush=True)
input()
"""


async def test_keep_copies_out_what_the_runtime_wrote(bench: Bench) -> None:
    folder = bench.folder / "kept"

    done = await bench.boot(WRITES, "--keep", str(folder), lines=[":quit"])

    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert "out/a.txt" in found
    assert (folder / "out" / "a.txt").read_text() == "text"
    assert not (folder / "link").exists()
    assert done.code == 0
    assert any("copied to" in text for text in done.pane("sys"))


async def test_save_does_the_same_within_the_session(bench: Bench) -> None:
    done = await bench.boot(WRITES, lines=[":save", f":save {bench.folder / 'kept'}"])

    assert (bench.folder / "kept" / "out" / "a.txt").read_text() == "text"
    assert "say where to: :save DIR" in done.pane("sys")


@pytest.mark.parametrize("how", ["not empty", "a file"])
async def test_a_folder_that_is_not_free_is_wrong_usage(bench: Bench, how: str) -> None:
    target = bench.folder / "kept"
    if how == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")

    done = await bench.boot(WRITES, "--keep", str(target))

    assert (done.code, done.out) == (2, "")
    assert "kept" in done.err


# ---------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("program", "lines", "code", "status"),
    [
        ("print('x')", [], 0, 0),
        ("print('x', flush=True)\ninput()\nraise SystemExit(3)", [":rt go"], 5, 3),
        ("print('x', flush=True)\nimport os\nos.kill(os.getpid(), 9)", [":rt go"], 5, 137),
        ("raise SystemExit(3)", [":rt go"], 5, 3),
        ("print('x', flush=True)\nimport sys\nsys.stdin.read()\nraise SystemExit(3)", [], 0, 3),
        (
            "print('x', flush=True)\nimport sys\nsys.stdin.read()\nraise SystemExit(3)",
            [":quit"],
            0,
            3,
        ),
    ],
)
async def test_a_status_is_a_failure_only_before_the_end_was_wanted(
    bench: Bench, program: str, lines: list[str], code: int, status: int
) -> None:
    done = await bench.boot(program, lines=lines)

    assert (done.code, done.event("ended")["code"]) == (code, status)
    assert bool(done.err) == (code != 0)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--nonsense"],
        ["--repair", "6"],
        ["--repair", "-1"],
        ["--wait", "-1"],
        ["--wait", "soon"],
        ["--sandbox", "chroot"],
        ["--payload", "no/such/file"],
        ["--payload", "."],
        ["--payload", "é\udcff"],
        ["--server", "http://"],
        ["--server", "ftp://127.0.0.1"],
        ["--model", "x.4dllm"],
        ["extra"],
    ],
)
async def test_what_can_not_be_meant_is_2(bench: Bench, arguments: list[str]) -> None:
    done = await bench.run("boot", "--yes", *arguments)

    assert done.code == 2
    assert done.err
    assert "None" not in done.err


@pytest.mark.parametrize("name", ["docker", "seatbelt"])
async def test_a_sandbox_that_is_not_there_is_4(bench: Bench, name: str) -> None:
    bench.env["DOCKER_HOST"] = "unix:///nowhere/docker.sock"

    done = await bench.boot("print('ran')", "--sandbox", name)

    assert (done.code, done.events) == (4, ["error"])
    assert name in done.err


async def test_without_any_sandbox_nothing_is_run(bench: Bench) -> None:
    """The program that makes the sandbox is there, but it is empty, and no other was asked for."""
    mask = ["--dev-bind", "/", "/", "--ro-bind", "/dev/null", "/usr/bin/bwrap"]
    bench.prefix = ["bwrap", *mask, "--"]

    done = await bench.boot("print('ran')", "--sandbox", "bubblewrap")

    assert (done.code, done.events, done.pane("rt")) == (4, ["error"], [])
    assert "/usr/bin/bwrap" in done.err


@pytest.mark.parametrize("words", ["--debug boot", "boot --debug", "boot"])
async def test_a_traceback_is_there_only_with_debug(bench: Bench, words: str) -> None:
    async with bench.started(*words.split(), "--payload", "no/such/file") as session:
        await session.process.wait()
        errors = await session._errors

    assert (b"Traceback" in errors) == ("--debug" in words)
    assert b"no/such/file can't be read" in errors


@pytest.mark.parametrize("words", ["primer --debug", "primer"])
async def test_an_error_of_our_own_is_a_sentence_too(bench: Bench, words: str) -> None:
    (bench.folder / "broken.py").write_text(
        "import sys\nfrom lmboot.bootstrap import prompts\ndel prompts.PRIMER\n"
        "from lmboot.cli.main import run\nsys.exit(run(sys.argv[1:]))\n"
    )
    bench.program = ["broken.py"]
    async with bench.started(*words.split()) as session:
        code = await session.process.wait()
        errors = await session._errors

    assert (b"Traceback" in errors) == ("--debug" in words)
    assert b"AttributeError" in errors
    assert code == (1 if "--debug" in words else 70)


async def test_without_any_server_it_is_said_what_to_do(bench: Bench) -> None:
    bench.prefix = ["bwrap", "--dev-bind", "/", "/", "--unshare-net", "--"]

    done = await bench.run("boot", "--yes", "--json")

    assert (done.code, done.events) == (3, ["error"])
    assert "--model seed" in done.err
    assert "lms server start" in done.err


async def test_a_limit_is_5_even_while_the_runtime_is_stopped(bench: Bench) -> None:
    program = """\
import sys
print("ready", flush=True)
sys.stdin.read()
while True:
    print("x" * 1000)
"""
    file = bench.payload(program, limits={"output_mb": 0.1})

    done = await bench.run("boot", "--payload", file, "--yes", "--json", lines=[":quit"])

    assert (done.code, done.event("limit")["limit"]) == (5, "output")
    assert "output" in done.err
