"""The border of whole sessions: the real sandbox and broker, live routes, and what is on file."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from tests.cli.program import Bench, Done, payload
from tests.connections.lookalike import running

ASKS = """\
import json, sys
from guest_sys import call

print("ready", flush=True)
for line in sys.stdin:
    op, _, rest = line.strip().partition(" ")
    try:
        print(json.dumps(call(op, **json.loads(rest or "{}"))), flush=True)
    except OSError as error:
        print(type(error).__name__, error, flush=True)
"""
HOSTS = {"time": "HOST", "notify": "HOST", "env": "EMULATE"}


async def talked(bench: Bench, *lines: str, routes: dict[str, str] = HOSTS) -> Done:
    file = bench.payload(ASKS, routes=routes)
    return await bench.run("boot", "--payload", file, "--yes", "--json", lines=lines)


def log_of(bench: Bench) -> Path:
    (log,) = (Path(bench.env["XDG_STATE_HOME"]) / "lmboot" / "audit").glob("*.jsonl")
    return log


def records(log: Path, *kinds: str) -> list[dict[str, object]]:
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [record for record in found if record["kind"] in kinds]


async def test_what_the_host_performs_is_real_and_what_is_emulated_is_not(bench: Bench) -> None:
    done = await talked(bench, ":grant time", ":rt time", ':rt env {"name": "HOME"}')

    _, time, home = done.pane("rt")
    assert json.loads(time)["unix"] > 1_600_000_000
    assert json.loads(home) == "/app"
    assert done.code == 0


async def test_a_notice_is_shown_as_the_runtimes_own_and_can_not_draw(bench: Bench) -> None:
    done = await talked(bench, ":grant notify", ':rt notify {"text": "over\\u001b[2J\\u202e"}')

    assert [text for text in done.pane("sys") if "notes" in text] == ["the runtime notes: over"]


async def test_the_clock_and_notices_are_asked_for_and_nobody_has_granted_them(
    bench: Bench,
) -> None:
    """`--yes` agrees to writing and running, and grants nothing."""
    done = await talked(bench, ":rt time", ':rt notify {"text": "seen"}', ":rt time")

    assert done.pane("rt")[1:] == [
        "HostError time: time is not granted",
        "HostError notify: notify is not granted",
        "HostError time: time is not granted",
    ]
    told = done.pane("sys")
    assert not any("seen" in text for text in told)
    assert [text.rpartition("; ")[2] for text in told if "can be asked here" in text] == [
        "`:grant time` allows it", "`:grant notify` allows it",
    ]  # fmt: skip


async def test_a_route_is_changed_while_it_runs_and_never_beyond_the_payload(bench: Bench) -> None:
    lines = [":route time DENY", ":rt time", ":route time HOST", ":rt time", ":route fetch host"]
    done = await talked(bench, ":grant time", *lines)

    _, denied, told = done.pane("rt")
    assert denied == "Denied time is denied"
    assert "unix" in told
    assert done.events.count("route") == 3
    assert done.pane("sys")[-2].startswith("fetch is DENY now: ")


async def test_a_wrong_route_is_told_and_nothing_is_changed(bench: Bench) -> None:
    wrong = ("nonsense HOST", "time", "time HOSTS", "time  ", "\x00 HOST")

    done = await talked(bench, ":grant time", *[f":route {each}" for each in wrong], ":rt time")

    assert "unix" in done.pane("rt")[-1]
    assert "route" not in done.events


async def test_routes_are_shown(bench: Bench) -> None:
    done = await talked(bench, ":route")

    shown = done.pane("sys")
    assert "HOST    time" in shown
    assert "EMULATE env" in shown
    assert "DENY    fetch" in shown


async def test_after_the_end_there_are_no_routes(bench: Bench) -> None:
    done = await bench.boot("print('over')", lines=[":route", ":route time DENY"])

    assert done.pane("sys").count("no runtime runs that could use anything of this machine") == 2


async def test_all_of_it_is_on_file_and_the_file_is_whole(bench: Bench) -> None:
    await talked(bench, ":grant time", ":rt time", ":route time DENY", ":rt time")
    log = log_of(bench)

    (consent,) = records(log, "consent")
    (intent,) = records(log, "intent")
    (outcome,) = records(log, "outcome")
    (flip,) = records(log, "route")
    assert (consent["decision"], consent["reason"]) == ("agreed", "by --yes")
    assert (intent["op"], intent["route"]) == ("time", "HOST")
    assert (outcome["op"], outcome["decision"]) == ("time", "ok")
    assert (flip["op"], flip["decision"]) == ("time", "DENY")
    assert (await bench.run("audit", "verify", str(log))).code == 0


FAULTS = """\
import os
print("ready", flush=True)
input()
os.write(int(os.environ["LMBOOT_FD"]), b"{}\\n" * 20)
print("sent", flush=True)
input()
print("still here", flush=True)
raise SystemExit(3)
"""


async def test_a_breach_and_the_end_are_on_the_screen_and_on_file(bench: Bench) -> None:
    file = bench.payload(FAULTS, routes=HOSTS)
    lines = [":rt go", ":rt on"]
    done = await bench.run("boot", "--payload", file, "--yes", "--json", lines=lines)
    shown = await bench.run("audit", "show", "last")

    told = [text for text in done.pane("sys") if "no requests" in text]
    assert told == [
        "the runtime sent its host many lines that are no requests: "
        "nothing more is done for it; it runs on"
    ]
    assert "still here" in done.pane("rt")
    (end,) = [line for line in shown.out.splitlines() if "event run" in line]
    assert "ended     with status 3, with no limit reached; nothing of it is left" in end


async def test_without_a_log_it_runs_and_nothing_is_done_for_it(bench: Bench) -> None:
    state = Path(bench.env["XDG_STATE_HOME"]) / "lmboot"
    state.mkdir(parents=True)
    (state / "audit").write_text("a file where the folder belongs")

    lines = [":rt time", ':rt env {"name": "HOME"}', ":route time EMULATE", ":rt time"]
    done = await talked(bench, *lines)

    _, ungranted, *emulated = done.pane("rt")
    assert ungranted == "HostError time: time is not granted"
    assert ["it could not be recorded" in each for each in emulated] == [True, True]
    assert "audit" in done.err


# ---------------------------------------------------------------- programs inside the sandbox


async def test_programs_are_run_inside_the_sandbox_that_the_runtime_is_in(bench: Bench) -> None:
    lines = [
        ':rt spawn {"argv": ["sh", "-c", "cat; echo no >&2; exit 3"], "stdin": "oak"}',
        ':rt code.exec_python {"code": "import os; print(os.path.exists(\'/root\'))"}',
        ':rt spawn {"argv": ["no-such-program"]}',
    ]
    done = await talked(bench, *lines, routes={"spawn": "EMULATE", "code.exec_python": "EMULATE"})

    spawned, executed, missing = done.pane("rt")[1:]
    assert json.loads(spawned) == {"code": 3, "stdout": "oak", "stderr": "no\n"}
    assert json.loads(executed)["stdout"] == "False\n"
    assert missing.startswith("FileNotFoundError")


# ---------------------------------------------------------------- what is granted

FILES = dict.fromkeys(["fs.list", "fs.read_text", "fs.write_text", "fs.stat", "fs.remove"], "HOST")


@pytest.fixture
def notes(bench: Bench) -> Path:
    folder = bench.folder / "notes"
    folder.mkdir()
    (folder / "a.txt").write_text("oak")
    (folder / ".secret").write_text("hidden")
    return folder


async def test_without_a_grant_there_is_nothing(bench: Bench, notes: Path) -> None:
    lines = [":grant", ":rt fs.list", ':rt fs.read_text {"path": "notes/a.txt"}']
    done = await talked(bench, *lines, routes=FILES)

    assert "nothing of this machine is granted" in done.pane("sys")
    assert done.pane("rt")[1:] == ["[]", "HostError fs.read_text: no folder 'notes' was granted"]


async def test_a_folder_that_was_granted_can_be_read_and_not_written(
    bench: Bench, notes: Path
) -> None:
    lines = [
        f":grant read {notes}",
        ":rt fs.list",
        ':rt fs.list {"path": "notes"}',
        ':rt fs.read_text {"path": "notes/a.txt"}',
        ':rt fs.write_text {"path": "notes/b.txt", "text": "x"}',
        ':rt fs.read_text {"path": "notes/../../etc/passwd"}',
        ':rt fs.read_text {"path": "notes/.secret"}',
    ]
    done = await talked(bench, *lines, routes=FILES)

    names, entries, text, *refused = done.pane("rt")[1:]
    assert (names, entries, text) == ('["notes/"]', '["a.txt"]', '"oak"')
    assert [each.split()[0] for each in refused] == ["HostError"] * 3
    assert not (notes / "b.txt").exists()
    assert done.events.count("grant") == 1
    assert [each["decision"] for each in records(log_of(bench), "grant")] == ["granted"]


async def test_a_folder_that_was_granted_for_writing_is_written_and_taken_back(
    bench: Bench, notes: Path
) -> None:
    lines = [
        f":grant write {notes}",
        ":grant",
        ':rt fs.write_text {"path": "notes/b.txt", "text": "elm"}',
        ':rt fs.remove {"path": "notes/a.txt"}',
        ":revoke notes/",
        ':rt fs.read_text {"path": "notes/b.txt"}',
        ":revoke notes",
        ":revoke",
    ]
    done = await talked(bench, *lines, routes=FILES)

    assert (notes / "b.txt").read_text() == "elm"
    assert not (notes / "a.txt").exists()
    assert done.pane("rt")[1:] == [
        "3",
        "null",
        "HostError fs.read_text: no folder 'notes' was granted",
    ]
    assert (
        f"write   notes/ ({notes}): it may read, change and remove everything in it and add to "
        "it, databases too"
    ) in done.pane("sys")
    assert any(
        text.startswith("the runtime may read, change and remove everything in ")
        for text in done.pane("sys")
    )
    assert "nothing is granted by the name 'notes'." in [x.strip() for x in done.pane("sys")]
    told = "say what is taken back. :revoke NAME, or :revoke KIND NAME; :grant shows them"
    assert told in done.pane("sys")


async def test_one_name_is_one_folder_and_a_kind_can_be_taken_back_by_itself(
    bench: Bench, notes: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.txt").write_text("elm")
    lines = [
        f":grant read {notes} as time",
        f":grant write {tmp_path / 'other'} as time",
        ':rt fs.read_text {"path": "time/a.txt"}',
        f":grant write {notes} as time",
        ":grant time",
        ":revoke time time",
        ':rt fs.read_text {"path": "time/a.txt"}',
        ":revoke read time",
        ":grant",
    ]

    done = await talked(bench, *lines, routes=FILES)

    assert done.pane("rt")[1:] == ['"oak"', '"oak"']
    told = done.pane("sys")
    assert any(line.startswith("another folder is granted by the name 'time'") for line in told)
    assert "time is taken back" in told
    assert "read time is taken back" in told
    assert told[-2].startswith(f"write   time/ ({notes}): it may read, change and remove")


WRONG = (
    "read", "read /no/such", "own /tmp", "read /proc", "fetch a b", "fetch ../x", "x",
    "fetch 127.0.0.1", "fetch 2130706433", "fetch localhost", "fetch nas.local", "fetch *",
    "time now", "query_model x", "tokenize",
)  # fmt: skip


async def test_a_wrong_grant_is_told_and_nothing_is_granted(bench: Bench) -> None:
    done = await talked(bench, *[f":grant {wrong}" for wrong in WRONG], ":grant", routes=FILES)

    said = [each for each in done.objects if each["pane"] in ("you", "sys")]
    for wrong in WRONG:
        at = next(n for n, each in enumerate(said) if each["text"] == f":grant {wrong}")
        assert said[at + 1]["pane"] == "sys", wrong
    assert "nothing of this machine is granted" in done.pane("sys")
    assert "grant" not in done.events
    # Attempts to open a folder are on file; of the others nothing is.
    assert {record["op"] for record in records(log_of(bench), "grant")} <= {"read"}


UNREACHABLE = {
    "127.0.0.1": "127.0.0.1 is loopback",
    "0x7f.1": "this spelling of an address is never fetched",
    "localhost": "a name of this machine or its network",
    "*": "every host is too much to grant",
}


async def test_a_host_that_is_not_granted_is_told_at_once_with_the_reason(bench: Bench) -> None:
    lines = [f":grant fetch {host}" for host in UNREACHABLE]

    done = await talked(bench, *lines, routes={"fetch": "HOST"})

    told = [text for text in done.pane("sys") if "can't be granted" in text]
    for text, why in zip(told, UNREACHABLE.values(), strict=True):
        assert why in text
        assert "example.org" in text


async def test_a_grant_without_its_route_names_the_route_that_it_needs(bench: Bench) -> None:
    grant = ":grant fetch example.org"
    lines = [":route fetch DENY", grant, ":route fetch HOST", ":grant fetch example.com"]

    done = await talked(bench, *lines, routes={"fetch": "HOST"})

    first, second = [text for text in done.pane("sys") if text.startswith("the runtime may")]
    assert first.endswith("until the run ends, but not before `:route fetch HOST`")
    assert second.endswith("until the run ends")


async def test_only_from_a_host_that_was_granted_anything_is_fetched(bench: Bench) -> None:
    ask = ':rt fetch {"url": "http://nowhere.invalid/"}'
    lines = [ask, ":grant fetch nowhere.invalid", ":grant", ask]
    done = await talked(bench, *lines, routes={"fetch": "HOST"})

    before, after = done.pane("rt")[1:]
    assert before.startswith("HostError")
    assert after.startswith("HostError")
    assert before != after
    assert "fetch   nowhere.invalid: it may fetch from it" in done.pane("sys")


async def test_a_database_in_a_granted_folder_answers_and_changes_only_where_that_may_be(
    bench: Bench, notes: Path
) -> None:
    with sqlite3.connect(notes / "w.db") as connection:
        connection.execute("create table wood (name text, years int)")
        connection.execute("insert into wood values ('oak', 300)")
    connection.close()
    ask = ':rt database_query {"path": "notes/w.db", "sql": '
    read = ask + '"select name from wood where years > ?", "parameters": [100]}'
    write = ask + "\"insert into wood values ('elm', 90)\"}"
    lines = [f":grant read {notes}", read, write, ":revoke notes", f":grant write {notes}", write]
    done = await talked(bench, *lines, routes={"database_query": "HOST"})

    answer, refused, changed = done.pane("rt")[1:]
    assert json.loads(answer) == {
        "columns": ["name"], "rows": [["oak"]], "changed": 0, "more": False,
    }  # fmt: skip
    assert refused.startswith("HostError")
    assert json.loads(changed)["changed"] == 1


# ---------------------------------------------------------------- the session's model

OF_THE_MODEL = {"query_model": "HOST", "tokenize": "HOST"}


@pytest.mark.case(92)
async def test_the_runtime_asks_the_sessions_model_within_its_budget(bench: Bench) -> None:
    reply = payload(ASKS, routes=OF_THE_MODEL)
    short = ':rt query_model {"prompt": "A wood?", "max_tokens": 2048}'
    long = f':rt query_model {{"prompt": "{"wood " * 12_100}", "max_tokens": 1}}'
    with running("plain", replies=[reply, "Oak, say."]) as base:
        count = ':rt tokenize {"text": "oak"}'
        lines = [":grant query_model", *[short] * 12, count, long, short]
        words = ["boot", "--server", base, "--model", "acme/tiny-4b", "--yes", "--json"]
        done = await bench.run(*words, lines=lines)

    *answers, counted, too_long, last = done.pane("rt")[1:]
    assert [*answers, last] == ['{"text": "Oak, say."}'] * 13
    assert json.loads(counted)["tokens"] > 0
    assert too_long == "HostError query_model: this is more than what is left for this runtime"


async def test_without_a_model_there_is_none_to_ask(bench: Bench) -> None:
    lines = [':rt query_model {"prompt": "x"}', ':rt tokenize {"text": "x"}']
    done = await talked(bench, *lines, routes=OF_THE_MODEL)

    assert all("there is no model" in text for text in done.pane("rt")[1:])


@pytest.mark.engine
async def test_the_built_in_model_shows_what_may_come_next_and_is_loaded_anew(
    bench: Bench,
) -> None:
    routes = {"logits": "HOST", "reload_model": "HOST"}
    file = bench.payload(ASKS, routes=routes)
    lines = [
        ":grant logits", ":grant reload_model",
        ':rt logits {"text": "Hello", "top": 5}', ":rt reload_model",
        ':rt logits {"text": "Hello", "top": 5}',
    ]  # fmt: skip
    words = ["boot", "--model", "seed", "--payload", file, "--yes", "--json", "--wait", "60"]
    done = await bench.run(*words, lines=lines)

    first, reloaded, again = (json.loads(text) for text in done.pane("rt")[1:])
    chances = [each["probability"] for each in first["tokens"]]
    assert len(chances) == 5
    assert chances == sorted(chances, reverse=True)
    assert 0 < sum(chances) <= 1.0001
    assert reloaded == {"reloaded": True}
    assert [each["text"] for each in again["tokens"]] == [each["text"] for each in first["tokens"]]


async def test_what_a_server_can_not_do_is_unavailable(bench: Bench) -> None:
    reply = payload(ASKS, routes={"logits": "HOST", "reload_model": "HOST"})
    with running("plain", replies=[reply]) as base:
        lines = [
            ":grant logits", ':rt logits {"text": "x"}',
            ":grant reload_model", ":rt reload_model",
        ]  # fmt: skip
        words = ["boot", "--server", base, "--model", "acme/tiny-4b", "--yes", "--json"]
        done = await bench.run(*words, lines=lines)

    logits, reload = done.pane("rt")[1:]
    assert logits.startswith("HostUnavailable logits: ")
    assert reload.startswith("HostUnavailable reload_model: LM Studio did not")


async def test_a_text_of_the_runtimes_goes_along_marked_with_what_is_said_next(
    bench: Bench, tmp_path: Path
) -> None:
    reply = payload(ASKS, routes={"inject_prompt": "HOST"})
    record = tmp_path / "record"
    with running("plain", replies=[reply, "Noted."], record=record) as base:
        lines = [
            ':rt inject_prompt {"text": "too early"}',
            ":grant inject_prompt",
            ':rt inject_prompt {"text": "the oak fell"}',
            ":ai what happened?",
            ":ai and then?",
        ]
        words = ["boot", "--server", base, "--model", "acme/tiny-4b", "--yes", "--json"]
        done = await bench.run(*words, lines=lines)

    refused, added = done.pane("rt")[1:]
    assert refused.startswith("HostError")
    assert json.loads(added) == {"added": True}
    assert "the runtime adds to your next :ai line: the oak fell" in done.pane("sys")
    asked = [json.loads(line) for line in record.read_text().splitlines()]
    talks = [each["chat"]["messages"] for each in asked if "chat" in each]
    first, second = (talk[-1]["content"] for talk in talks[-2:])
    assert first == (
        "The runtime added this text; it is not the user's:\nthe oak fell\n\nwhat happened?"
    )
    assert second == "and then?"
    assert "too early" not in json.dumps(talks)


# ---------------------------------------------------------------- programs of the host's


async def test_a_program_that_was_granted_runs_in_a_sandbox_of_its_own(
    bench: Bench, notes: Path
) -> None:
    lines = [
        ':rt spawn {"argv": ["/usr/bin/sort"], "stdin": "oak\\nelm\\n"}',
        ":grant spawn /usr/bin/sort",
        ":grant spawn /usr/bin/cat",
        ":grant spawn sort",
        ":grant spawn /usr/bin/env",
        ':rt spawn {"argv": ["/usr/bin/sort"], "stdin": "oak\\nelm\\n"}',
        f':rt spawn {{"argv": ["/usr/bin/cat", "{notes}/a.txt", "b"], "files": {{"b": "own"}}}}',
        ':rt spawn {"argv": ["/usr/bin/bash", "-c", "id"]}',
        ":grant",
    ]
    done = await talked(bench, *lines, routes={"spawn": "HOST"})

    before, sorted_, read, shell = done.pane("rt")[1:]
    assert before == "HostError spawn: spawn /usr/bin/sort is not granted"
    assert json.loads(sorted_) == {"code": 0, "stdout": "elm\noak\n", "stderr": ""}
    assert json.loads(read)["stdout"] == "own"
    assert shell.startswith("HostError spawn: a program that runs others")
    told = "\n".join(done.pane("sys"))
    assert "`:grant spawn /usr/bin/sort` allows it" in told
    assert "mind that /usr/bin/env runs whatever" in told
    assert "which is a shell; only `:grant spawn" in told
    assert "spawn   /usr/bin/sort: it may run it in a sandbox of its own" in done.pane("sys")


async def test_a_payloads_own_limit_holds_for_all_programs_that_are_run_for_it(
    bench: Bench,
) -> None:
    spin = ':rt spawn {"argv": ["/usr/bin/sha256sum", "/dev/zero"]}'
    file = bench.payload(ASKS, routes={"spawn": "HOST"}, limits={"cpu_seconds": 2})
    lines = [":grant spawn /usr/bin/sha256sum", *[spin] * 5]
    done = await bench.run("boot", "--payload", file, "--yes", "--json", lines=lines)

    told = done.pane("rt")[1:]
    assert "over its limit of cpu" in told[0]
    assert told[-1].startswith("HostError spawn: the programs that were run for this runtime")
    assert (len(told), done.code) == (5, 0)


# ---------------------------------------------------------------- without a border

NONE = ["--yes", "--no-border", "--sandbox", "none", "--json"]


async def test_without_a_border_the_host_does_nothing_and_that_is_said_and_on_file(
    bench: Bench,
) -> None:
    file = bench.payload(ASKS, routes={"spawn": "HOST", "time": "HOST", "env": "EMULATE"})
    lines = [
        ':rt spawn {"argv": ["/usr/bin/sort"]}',
        ":rt time",
        ':rt env {"name": "USER"}',
        ":route time HOST",
        ":rt time",
    ]
    done = await bench.run("boot", "--payload", file, *NONE, lines=lines)

    _, spawned, denied, user, emulated = done.pane("rt")
    assert (spawned, denied, user) == (
        "Denied spawn is denied",
        "Denied time is denied",
        '"guest"',
    )
    assert json.loads(emulated)["unix"] == 946684800
    told = done.pane("sys")
    assert "there is no border: what the host would do for the runtime is denied" in told
    assert "time is EMULATE now: without a border the host performs nothing" in told
    (event,) = [each for each in records(log_of(bench), "event") if each["op"] == "border"]
    assert (event["decision"], done.code) == ("none", 0)


# ---------------------------------------------------------------- the user's own policy


async def test_the_policy_of_the_settings_is_the_ceiling_of_every_run(bench: Bench) -> None:
    bench.settings.write_text('[routes]\ntime = "DENY"\nenv = "EMULATE"\nfs.list = "ASK"\n')
    lines = [
        ":rt time",
        ':rt env {"name": "USER"}',
        ":route env HOST",
        ":route code.exec_python HOST",
    ]
    routes = {**dict.fromkeys(["time", "env"], "HOST"), "code.exec_python": "EMULATE"}
    done = await talked(bench, *lines, routes=routes)

    _, denied, user = done.pane("rt")
    assert (denied, user) == ("Denied time is denied", '"guest"')
    told = done.pane("sys")
    assert "env is EMULATE now: the policy allows no more than EMULATE" in told
    assert "code.exec_python is EMULATE now: the host never performs it" in told


async def test_a_policy_can_have_nobody_asked(bench: Bench, notes: Path) -> None:
    bench.settings.write_text('[routes]\nfs.read_text = "HOST"\n')
    read = ':rt fs.read_text {"path": "notes/a.txt"}'
    done = await talked(bench, read, f":grant read {notes}", read, routes=FILES)

    _, refused, granted = done.pane("rt")
    assert refused.startswith("HostError fs.read_text: no folder 'notes' was granted")
    assert granted == '"oak"'
    assert any("refuses without a question" in text for text in done.pane("sys"))


# ---------------------------------------------------------------- what requires its broker


async def test_a_payload_that_requires_its_broker_is_not_run_without_one(bench: Bench) -> None:
    state = Path(bench.env["XDG_STATE_HOME"]) / "lmboot"
    state.mkdir(parents=True)
    (state / "audit").write_text("a file where the folder belongs")
    file = bench.payload("print('ran')", requires_broker=True)

    done = await bench.run("boot", "--payload", file, "--yes", "--json")

    assert done.code == 4
    assert done.err.count("the payload requires the broker") == 1
    assert done.pane("rt") == []
    assert done.events == ["payload", "error"]


@pytest.mark.parametrize("options", [["--yes", "--json"], NONE])
async def test_where_its_broker_can_be_had_it_runs(bench: Bench, options: list[str]) -> None:
    file = bench.payload("print('ran')", requires_broker=True)

    done = await bench.run("boot", "--payload", file, *options)

    assert (done.pane("rt"), done.code) == (["ran"], 0)


# ---------------------------------------------------------------- the level that is asked for


async def test_a_payload_whose_level_is_given_is_run(bench: Bench) -> None:
    file = bench.payload("print('ran')", sandbox_level="medium")

    done = await bench.run("boot", "--payload", file, "--yes", "--json")

    assert (done.pane("rt"), done.code) == (["ran"], 0)


@pytest.mark.parametrize(
    ("level", "options", "reason"),
    [
        ("medium", ["--sandbox", "landlock"], "level medium, and landlock"),
        ("medium", ["--sandbox", "none", "--no-border"], "level medium, and none"),
        ("high", ["--sandbox", "bubblewrap"], "a second wall"),
    ],
)
async def test_a_level_that_is_not_given_is_refused_before_consent(
    bench: Bench, level: str, options: list[str], reason: str
) -> None:
    file = bench.payload("print('ran')", sandbox_level=level)

    done = await bench.run("boot", "--payload", file, "--yes", "--json", *options)

    assert done.code == 4
    assert reason in done.err
    assert "Use --sandbox auto" in done.err
    assert done.events == ["payload", "error"]
    assert bench.kept == []
