"""The audit log: what is on file and when, and what can be seen of whoever meddled with it."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmboot.errors import AuditFault, FileUnreadable
from lmboot.runtime import audit, vault
from lmboot.runtime.audit import HEAD_RECORDS, RECORDED_A_SECOND, AuditLog, Intent
from lmboot.runtime.chain import BEGINNING, Head, OpenIntent, key_id, sealed, verify
from lmboot.runtime.row import Row
from lmboot.runtime.vault import RESERVE_BYTES, Vault
from tests.leaks import wait_until
from tests.runtime.audits import Logs, MemoryKeychain, fill, lines, records

ROOT = Path(__file__).resolve().parents[2]
RECORDS = 8  # genesis, three intents and outcomes, close
SLOW = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(Vault(tmp_path / "state" / "audit", MemoryKeychain()))


@pytest.fixture
def log(logs: Logs) -> Path:
    return logs.filled()


# ---------------------------------------------------------------- what is on file


def test_the_first_record_binds_run_posture_payload_and_versions(log: Path) -> None:
    first = records(log)[0]

    assert (first["kind"], first["run"], first["seq"]) == ("genesis", "r1", 0)
    assert first["posture"] == {"net_ip": "enforced", "disk_total": "partial"}
    assert first["payload"] == "ab" * 32
    assert {"lmboot", "python"} <= set(first["versions"])
    assert (first["log"], first["prev"]) == (log.name, BEGINNING)


def test_an_intent_is_on_file_before_intent_returns(logs: Logs) -> None:
    with logs.open() as log:
        log.intent("fetch", "HOST", 4, {"url": "https://example.org/"})
        last = records(log.path)[-1]

    assert (last["kind"], last["op"], last["route"], last["version"]) == (
        "intent",
        "fetch",
        "HOST",
        4,
    )
    assert last["args"] == {"url": "https://example.org/"}


def test_an_outcome_names_its_intent_and_what_it_cost(log: Path) -> None:
    intent, outcome = records(log)[1:3]

    assert outcome["intent"] == intent["seq"]
    assert (outcome["decision"], outcome["reason"]) == ("allow", "granted")
    assert (outcome["bytes"], outcome["ms"]) == (12, 0.5)


def test_an_outcome_has_where_redirects_led_without_secrets(logs: Logs) -> None:
    with logs.open() as log:
        intent = log.intent("fetch", "HOST", 1, {})
        hops = ["http://bob:pw1@a.org/x?key=pw2", "http://a.org/\x1b" + "x" * 9000, *"abc" * 9]
        log.outcome(intent, "ok", hops=hops)

    *_, outcome, _ = records(log.path)
    assert outcome["hops"][0] == "http://[redacted]@a.org/x?key=[redacted]"
    assert len(outcome["hops"]) == 16
    assert len(json.dumps(outcome)) < 4096
    text = log.path.read_text()
    assert not [secret for secret in ("pw1", "pw2", "\x1b") if secret in text]


def test_every_other_kind_can_be_noted(logs: Logs) -> None:
    with logs.open() as log:
        for kind in ("consent", "route", "grant", "revoke", "event"):
            log.note(
                kind, "fs.read_text", decision="yes", args={"root": "notes"}, payload="ab" * 32
            )

    noted = records(log.path)[1:-1]
    assert [each["kind"] for each in noted] == ["consent", "route", "grant", "revoke", "event"]
    assert {each["payload"] for each in noted} == {"ab" * 32}


def test_the_code_is_hmac_of_the_one_before_and_the_record_with_sorted_keys(
    logs: Logs, log: Path
) -> None:
    """What anybody can check with the key and a few lines of their own."""
    key, prev = logs.vault.key(), BEGINNING

    for record in records(log):
        mac = record.pop("mac")
        body = json.dumps(record, sort_keys=True, separators=(",", ":"))
        assert mac == hmac.new(key, (prev + body).encode(), hashlib.sha256).hexdigest()
        assert record["prev"] == prev
        prev = mac


def test_nobody_else_may_read_the_folder_the_key_or_the_log(logs: Logs, log: Path) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in log.parent.iterdir()}

    assert log.parent.stat().st_mode & 0o777 == 0o700
    assert set(modes.values()) == {0o600}


def test_a_folder_that_was_open_to_others_is_closed(logs: Logs) -> None:
    logs.vault.folder.mkdir(parents=True, mode=0o755)

    logs.filled()

    assert logs.vault.folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_is_a_link_is_not_written_to(logs: Logs, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    logs.vault.folder.parent.mkdir()
    logs.vault.folder.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(AuditFault):
        logs.open()

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_link_that_was_planted_where_the_log_goes_is_not_followed(
    logs: Logs, tmp_path: Path
) -> None:
    logs.filled()
    (logs.vault.folder / "planted.jsonl").symlink_to(tmp_path / "target")

    with pytest.raises(AuditFault):
        logs.vault.create("planted.jsonl")

    assert not (tmp_path / "target").exists()


def test_a_runs_name_that_could_leave_the_folder_is_refused(logs: Logs) -> None:
    with pytest.raises(ValueError, match="name"):
        logs.open("../r1")


def test_after_the_end_nothing_is_recorded(logs: Logs) -> None:
    log = logs.open()
    log.close()
    log.close()

    with pytest.raises(AuditFault):
        log.intent("fetch", "HOST", 1, {})

    assert logs.verdict(log.path).closed


def test_threads_write_one_chain(logs: Logs) -> None:
    with logs.open() as log:
        threads = [threading.Thread(target=fill, args=(log, 100)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    verdict = logs.verdict(log.path)
    assert (verdict.problem, verdict.records, verdict.open_intents) == (None, 802, ())


def test_what_is_interrupted_between_write_and_counting_is_the_logs_last(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A signal there must not lead to two records with one number."""
    log = logs.open()
    write = os.write

    def interrupted(descriptor: int, data: bytes) -> int:
        write(descriptor, data)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            log.intent("fetch", "HOST", 1, {})
    with pytest.raises(AuditFault):
        log.intent("fetch", "HOST", 1, {})
    with pytest.raises(AuditFault):
        log.close()

    assert logs.problem(log.path) is None


# ---------------------------------------------------------------- key and head


def test_with_a_keyring_the_key_is_in_no_file(tmp_path: Path) -> None:
    logs = Logs(Vault(tmp_path / "audit", MemoryKeychain(works=True)))

    log = logs.filled()

    key = logs.vault.key()
    assert not (log.parent / "key").exists()
    assert not any(key in file.read_bytes() for file in log.parent.iterdir())
    assert logs.verdict(log).whole


def test_with_a_keyring_the_head_is_there_too(tmp_path: Path) -> None:
    keychain = MemoryKeychain(works=True)
    logs = Logs(Vault(tmp_path / "audit", keychain))
    log = logs.filled()

    log.with_name(f"{log.name}.head").unlink()

    assert f"audit-head {log.name}" in keychain.kept
    assert logs.verdict(log).whole


def test_an_older_head_that_is_put_back_does_not_hide_a_cut(tmp_path: Path) -> None:
    """Beside the log an old head is as genuine as the last one; the keyring knows better."""
    logs = Logs(Vault(tmp_path / "audit", MemoryKeychain(works=True)))
    with logs.open() as log:
        head = log.path.with_name(f"{log.path.name}.head")
        old = head.read_text()
        fill(log, 3)
    head.write_text(old)
    log.path.write_bytes(lines(log.path)[0])

    assert logs.problem(log.path) == (1, "truncated")


def test_a_keyring_that_is_locked_later_leaves_earlier_logs_to_their_own_key(
    tmp_path: Path,
) -> None:
    keychain = MemoryKeychain(works=True)
    logs = Logs(Vault(tmp_path / "audit", keychain))
    first = logs.filled("r1")
    keychain.works = False
    second = logs.filled("r2")
    keychain.works = True

    assert logs.verdict(first).whole
    assert logs.verdict(second).whole


def test_two_logs_have_the_same_key(logs: Logs) -> None:
    one, other = logs.filled("r1"), logs.filled("r2")

    assert records(one)[0]["key"] == records(other)[0]["key"] == key_id(logs.vault.key())


def test_many_that_begin_at_once_agree_on_one_key(logs: Logs) -> None:
    logs.vault.prepare()
    keys: list[bytes] = []

    threads = [threading.Thread(target=lambda: keys.append(logs.vault.key())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert (len(keys), len(set(keys))) == (8, 1)


@pytest.mark.parametrize("spoil", ["short", "open", "link"])
def test_a_key_that_others_could_have_made_or_read_is_refused(logs: Logs, spoil: str) -> None:
    log = logs.filled()
    key = logs.vault.folder / "key"
    if spoil == "short":
        key.write_bytes(b"short")
    elif spoil == "open":
        key.chmod(0o644)
    else:
        key.symlink_to(key.rename(key.with_name("moved")))

    with pytest.raises(AuditFault):
        logs.open("r2")
    with pytest.raises(FileUnreadable):
        logs.verdict(log)


def test_the_head_is_never_further_behind_than_so_many_records(logs: Logs) -> None:
    behind = []
    with logs.open() as log:
        for number in range(HEAD_RECORDS * 2):
            log.intent("fetch", "HOST", 1, {})
            head = logs.head(log.path)
            assert head
            behind.append(number + 2 - head.count)

    assert max(behind) <= HEAD_RECORDS


def test_the_head_of_a_log_that_rests_is_kept_soon(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "HEAD_SECONDS", 0.01)
    with logs.open() as log:
        log.intent("fetch", "HOST", 1, {})

        assert wait_until(lambda: logs.head(log.path) == log._now())


def test_a_head_that_can_not_be_kept_is_a_reason_to_deny(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Vault, head: Head) -> None:
        raise OSError(28, "No space left on device")

    log = logs.open()
    fill(log, HEAD_RECORDS // 2 - 1)
    with monkeypatch.context() as patch:
        patch.setattr(Vault, "keep_head", full)
        log.intent("fetch", "HOST", 1, {})
        log.intent("fetch", "HOST", 1, {})
        with pytest.raises(AuditFault, match="No space"):
            log.intent("fetch", "HOST", 1, {})
    log.close()

    assert logs.verdict(log.path).whole


# ---------------------------------------------------------------- tampering


def test_a_log_that_nobody_touched_is_whole(logs: Logs, log: Path) -> None:
    verdict = logs.verdict(log)

    assert (verdict.whole, verdict.closed, verdict.records) == (True, True, RECORDS)
    assert (verdict.run, verdict.open_intents, verdict.beyond_head) == ("r1", (), 0)


@pytest.mark.parametrize("at", range(RECORDS))
@pytest.mark.case(94)
def test_an_edited_record_is_named(logs: Logs, log: Path, at: int) -> None:
    there = lines(log)
    there[at] = there[at].replace(b'"run":"r1"', b'"run":"r2"')
    log.write_bytes(b"".join(there))

    assert logs.problem(log) == (at, "edited")


@pytest.mark.parametrize("at", range(RECORDS - 1))
@pytest.mark.case(94)
def test_a_deleted_record_is_named(logs: Logs, log: Path, at: int) -> None:
    there = lines(log)
    del there[at]
    log.write_bytes(b"".join(there))

    assert logs.problem(log) == (at, "deleted")


@pytest.mark.parametrize("at", range(RECORDS - 1))
@pytest.mark.case(94)
def test_two_records_that_changed_places_are_named(logs: Logs, log: Path, at: int) -> None:
    there = lines(log)
    there[at], there[at + 1] = there[at + 1], there[at]
    log.write_bytes(b"".join(there))

    assert logs.problem(log) == (at, "reordered")


@pytest.mark.parametrize("at", range(RECORDS))
@pytest.mark.case(94)
def test_a_forged_record_is_named(logs: Logs, log: Path, at: int) -> None:
    there = lines(log)
    there.insert(at, there[at].replace(b'"seq"', b'"sEq"'))
    log.write_bytes(b"".join(there))

    assert logs.problem(log) == (at, "inserted")


@pytest.mark.parametrize("at", range(RECORDS + 1))
@pytest.mark.parametrize("copied", range(RECORDS))
def test_a_record_that_is_copied_in_is_named(logs: Logs, log: Path, at: int, copied: int) -> None:
    there = lines(log)
    there.insert(at, there[copied])
    log.write_bytes(b"".join(there))

    # Beside itself a record and its copy are one like the other.
    assert logs.problem(log) == (max(at, copied + 1) if at == copied else at, "inserted")


@pytest.mark.parametrize("at", range(RECORDS + 1))
@pytest.mark.parametrize("which", [0, 1])
def test_a_record_of_another_run_is_named(logs: Logs, log: Path, at: int, which: int) -> None:
    there = lines(log)
    there.insert(at, lines(logs.filled("r2"))[which])
    log.write_bytes(b"".join(there))

    assert logs.problem(log) == (at, "inserted")


@pytest.mark.parametrize("left", range(RECORDS))
@pytest.mark.case(94)
def test_a_tail_that_was_cut_off_is_missed(logs: Logs, log: Path, left: int) -> None:
    log.write_bytes(b"".join(lines(log)[:left]))

    assert logs.problem(log) == (left, "truncated")


@pytest.mark.parametrize("at", range(RECORDS))
def test_a_line_that_is_no_record_is_named(logs: Logs, log: Path, at: int) -> None:
    there = lines(log)
    there[at] = b"[" * 100_000 + b"\n"
    log.write_bytes(b"".join(there))

    assert logs.problem(log) == (at, "damaged-line")


@pytest.mark.case(94)
def test_a_log_that_was_replaced_by_an_older_one_is_seen(logs: Logs, log: Path) -> None:
    other = logs.filled("r2")
    log.write_bytes(other.read_bytes())

    assert logs.problem(log) == (0, "replaced")


def test_a_log_that_was_replaced_together_with_its_head_is_seen(logs: Logs, log: Path) -> None:
    other = logs.filled("r2")
    other.replace(log)
    other.with_name(f"{other.name}.head").replace(log.with_name(f"{log.name}.head"))

    assert logs.problem(log) == (0, "replaced")


def test_a_log_that_was_written_with_another_key_is_seen(
    logs: Logs, log: Path, tmp_path: Path
) -> None:
    forged = Logs(Vault(tmp_path / "forger", MemoryKeychain())).filled()
    log.write_bytes(forged.read_bytes())

    assert logs.problem(log) == (0, "replaced")


@pytest.mark.case(94)
def test_a_log_that_was_removed_is_missed(logs: Logs, log: Path) -> None:
    log.unlink()

    assert logs.vault.find("r1") == log
    assert logs.problem(log) == (0, "truncated")


@pytest.mark.parametrize("text", [None, "", "{}", "[]", "1", "[" * 100_000, '{"log":"\\ud800"}'])
def test_a_head_that_is_gone_or_no_head_is_missed(logs: Logs, log: Path, text: str | None) -> None:
    head = log.with_name(f"{log.name}.head")
    if text is None:
        head.unlink()
    else:
        head.write_text(text)

    assert logs.problem(log) == (RECORDS, "missing-head")


@pytest.mark.parametrize("name", ["log", "run", "seq", "mac", "count", "sign"])
def test_a_head_that_was_edited_is_missed(logs: Logs, log: Path, name: str) -> None:
    file = log.with_name(f"{log.name}.head")
    head = json.loads(file.read_text())
    head[name] = head[name] - 1 if isinstance(head[name], int) else "\udcff"
    file.write_text(json.dumps(head))

    assert logs.problem(log) == (RECORDS, "missing-head")


def test_the_head_of_another_log_is_none(logs: Logs, log: Path) -> None:
    other = logs.filled("r2")
    other.with_name(f"{other.name}.head").replace(log.with_name(f"{log.name}.head"))

    assert logs.problem(log) == (RECORDS, "missing-head")


def test_whoever_cuts_the_log_can_not_make_the_head_that_fits(logs: Logs, log: Path) -> None:
    """All that the head says stands in the log, but its signature needs the key."""
    log.write_bytes(b"".join(lines(log)[:3]))
    last = records(log)[-1]
    head = Head(log.name, "r1", 2, last["mac"], 3).signed(b"guessed" * 4)
    log.with_name(f"{log.name}.head").write_text(head.text())

    assert logs.problem(log) == (3, "missing-head")


@SLOW
@given(data=st.data())
def test_no_byte_can_be_changed_unseen(logs: Logs, data: st.DataObject) -> None:
    """And what is named is the record that has the byte."""
    log = logs.filled()
    key, text = logs.vault.key(), log.read_bytes()
    head = logs.head(log)
    at = data.draw(st.integers(0, 1 << 20)) % len(text)
    byte = (text[at] + data.draw(st.integers(1, 255))) % 256

    problem = verify(text[:at] + bytes([byte]) + text[at + 1 :], key, head).problem

    assert problem
    assert problem.seq == text[:at].count(b"\n") + (byte == 10 and text[at] == 10)


@SLOW
@given(st.binary(max_size=200))
def test_anything_at_all_can_be_judged(data: bytes) -> None:
    assert not verify(data, b"k" * 32, None).whole


@SLOW
@given(st.permutations(range(RECORDS)))
def test_every_other_order_is_seen(logs: Logs, order: list[int]) -> None:
    log = logs.filled()
    there = lines(log)

    log.write_bytes(b"".join(there[index] for index in order))

    first = next((at for at, index in enumerate(order) if at != index), None)
    assert logs.problem(log) == (None if first is None else (first, "reordered"))


# ---------------------------------------------------------------- guests' text


HOSTILE = [
    '\n{"seq":99,"kind":"close"}\n',
    '","mac":"' + "0" * 64 + '"}\n{"a":"',
    "\r\n\x85\u2028\u2029\x0b\x0c\x1c",
    "\x1b[2J\x1b]0;title\x07\x9b31m\x7f",
    "\u202egpj.exe\u200b",
    "\ud800",
    "\x00",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.case(95)
def test_no_text_of_a_guest_forges_a_record(logs: Logs, text: str) -> None:
    with logs.open() as log:
        intent = log.intent(text, text, 1, {text: text, "list": [text]})
        log.outcome(intent, text, text)
        log.denied(text, text, 1, {text: [text]}, text)
        log.note("event", text, reason=text, args=text)

    assert log.path.read_bytes().count(b"\n") == len(records(log.path)) == 6
    assert len(log.path.read_bytes().splitlines()) == 6
    assert not [byte for byte in log.path.read_bytes().replace(b"\n", b"") if not 32 <= byte < 127]
    assert logs.verdict(log.path).whole


@SLOW
@given(
    st.text(st.characters(), max_size=40),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
        max_leaves=20,
    ),
)
def test_whatever_a_guest_asks_is_one_record_of_bounded_size(
    logs: Logs, op: str, args: object
) -> None:
    with logs.open() as log:
        log.intent(op, "HOST", 1, args)

    text = lines(log.path)
    assert len(text) == 3
    assert len(text[1]) < 4096
    assert len(json.dumps(records(log.path)[1]["args"])) <= 2048 + 64
    assert logs.verdict(log.path).whole


def test_arguments_that_have_no_end_are_denied(logs: Logs) -> None:
    endless: list[object] = []
    endless.append(endless)

    with logs.open() as log, pytest.raises(AuditFault):
        log.intent("fetch", "HOST", 1, endless)

    assert logs.verdict(log.path).records == 2


def test_the_digest_tells_apart_what_the_preview_does_not_show(logs: Logs) -> None:
    with logs.open() as log:
        for text in ("one", "two", "one"):
            log.intent("fs.write_text", "HOST", 1, {"path": "a", "text": text})

    one, two, again = records(log.path)[1:4]
    assert one["args"] == two["args"] == {"path": "a", "text": "[3 characters]"}
    assert one["args_digest"] == again["args_digest"] != two["args_digest"]


# ---------------------------------------------------------------- a flood


@pytest.mark.case(122)
def test_denials_of_a_flood_are_counted_not_lost(logs: Logs) -> None:
    with logs.open() as log:
        for number in range(1000):
            log.denied(f"op{number % 30}", "DENY", 1, {}, "not allowed")

    told = [each for each in records(log.path) if each.get("decision") == "deny"]
    summary = [each for each in told if each["kind"] == "denied-summary"]
    assert len(told) - len(summary) == RECORDED_A_SECOND
    assert sum(each["count"] for each in summary) == 1000 - RECORDED_A_SECOND
    assert all(sum(each["ops"].values()) == each["count"] for each in summary)
    assert all(len(each["ops"]) <= 17 for each in summary)
    assert records(log.path)[-1]["denied"] == 1000


@pytest.mark.case(122)
def test_emulated_calls_of_a_flood_are_one_record_each_and_then_counted(logs: Logs) -> None:
    with logs.open() as log:
        for number in range(1000):
            log.emulated(f"op{number % 3}", "EMULATE", 1, {"text": "x" * 4000})
        log.denied("fetch", "DENY", 1, {}, "they have a second of their own")

    told = [each for each in records(log.path) if each.get("decision") == "emulated"]
    summary = [each for each in told if each["kind"] == "emulated-summary"]
    assert {each["kind"] for each in told} == {"outcome", "emulated-summary"}
    assert len(told) - len(summary) == RECORDED_A_SECOND
    assert sum(each["count"] for each in summary) == 1000 - RECORDED_A_SECOND
    assert all(sum(each["ops"].values()) == each["count"] for each in summary)
    assert [each["kind"] for each in records(log.path) if each.get("decision") == "deny"] == [
        "outcome"
    ]
    assert (records(log.path)[-1]["emulated"], records(log.path)[-1]["denied"]) == (1000, 1)
    assert logs.verdict(log.path).open_intents == ()


def test_an_emulated_call_that_can_not_be_recorded_is_a_reason_to_deny(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logs.open() as log, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 0)
        with pytest.raises(AuditFault):
            log.emulated("time", "EMULATE", 1, {})


def test_in_the_next_second_denials_have_records_again(logs: Logs) -> None:
    with logs.open() as log:
        for _ in range(3):
            logs.hands.now += 1
            for _ in range(RECORDED_A_SECOND):
                log.denied("fetch", "DENY", 1, {}, "not allowed")

    kinds = [each["kind"] for each in records(log.path)]
    assert kinds.count("outcome") == 3 * RECORDED_A_SECOND
    assert "denied-summary" not in kinds


def test_a_flood_is_told_while_it_lasts(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "HEAD_SECONDS", 0.01)
    with logs.open() as log:
        for _ in range(RECORDED_A_SECOND + 5):
            log.denied("fetch", "DENY", 1, {}, "not allowed")

        assert wait_until(lambda: sum(r.get("count", 0) for r in records(log.path)) == 5)


def test_a_denial_that_can_not_be_written_is_counted_for_later(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logs.open() as log, monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 0)
        log.denied("fetch", "DENY", 1, {}, "not allowed")
        log.denied("fetch", "DENY", 1, {"a": 10**6000}, "not allowed")

    assert [each["kind"] for each in records(log.path)] == ["genesis", "denied-summary", "close"]
    assert records(log.path)[1]["count"] == 2


def as_many_as_fit(log: AuditLog) -> list[Intent]:
    """Return what is on file when the log denies the next one."""
    intents: list[Intent] = []
    try:
        while True:
            intents.append(log.intent("fetch", "HOST", 1, {}))
    except AuditFault as fault:
        assert "full" in str(fault)  # noqa: PT017 - how many passed is what we want to know
    return intents


@pytest.mark.case(122)
def test_a_guest_that_asks_without_end_is_denied_and_the_end_still_fits(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_BYTES", 100_000)
    with logs.open() as log:
        intents = as_many_as_fit(log)
        for intent in intents:
            log.outcome(intent, "allow")

    assert logs.verdict(log.path).closed
    assert log.path.stat().st_size < 100_000


@pytest.mark.case(122)
def test_a_flood_does_not_take_what_is_kept_free_for_outcomes_and_the_end(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "MOST_BYTES", 100_000)
    with logs.open() as log:
        intents = as_many_as_fit(log)
        for _ in range(1000):
            log.denied("fetch", "DENY", 1, {}, "not allowed")
            with contextlib.suppress(AuditFault):
                log._summarise()
        full = log.path.stat().st_size
        for intent in intents:
            log.outcome(intent, "allow")

    assert full <= 100_000 - RESERVE_BYTES
    *_, summary, close = records(log.path)
    assert (summary["count"], close["denied"]) == (1000, 1000)
    assert logs.verdict(log.path).closed


# ---------------------------------------------------------------- a full disk, a crash


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with a log `log` in a process of its own."""
    start = (
        "import os, resource, signal, sys\n"
        "from pathlib import Path\n"
        "from lmboot.errors import AuditFault\n"
        "from lmboot.runtime.audit import AuditLog\n"
        "from lmboot.runtime.vault import Vault\n"
        "from tests.runtime.audits import MemoryKeychain\n"
        "vault = Vault(Path(sys.argv[1]), MemoryKeychain())\n"
        "log = AuditLog(vault, 'r1', posture={}, payload=None)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", start + program, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no RLIMIT_FSIZE")
@pytest.mark.parametrize("room", [0, 1, 100, 300, 500])
@pytest.mark.case(96)
def test_on_a_full_disk_the_operation_is_denied_and_the_log_stays_whole(
    logs: Logs, room: int
) -> None:
    """The kernel takes a part of the record; what it took must not stay."""
    program = f"""
size = os.stat(log.path).st_size
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (size + {room}, unlimited[1]))
denied = 0
for _ in range(3):
    try:
        log.intent("fetch", "HOST", 1, {{"url": "x" * 200}})
    except AuditFault as fault:
        denied += 1
print(denied, os.stat(log.path).st_size - size)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
log.intent("fetch", "HOST", 1, {{}})
log.close()
"""
    done = run(program, logs.vault.folder)

    assert (done.stdout, done.stderr) == ("3 0\n", "")
    verdict = logs.verdict(logs.vault.find("last"))
    assert (verdict.problem, verdict.records, verdict.closed) == (None, 3, True)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no RLIMIT_FSIZE")
def test_on_a_full_disk_there_is_room_for_the_outcome_of_what_was_begun(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room is kept from the start: as long as the reserve is there, the disk takes nothing."""
    log = logs.open()
    intent = log.intent("fetch", "HOST", 1, {})
    reserve = logs.vault.folder / f".{log.path.name}.reserve"
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: 0 if reserve.exists() else write(fd, data))

    assert reserve.stat().st_size == RESERVE_BYTES
    with pytest.raises(AuditFault):
        log.intent("fetch", "HOST", 1, {})
    log.denied("fetch", "DENY", 1, {}, "not allowed")
    log.outcome(intent, "allow")
    log.close()

    verdict = logs.verdict(log.path)
    assert (verdict.whole, verdict.closed, verdict.open_intents) == (True, True, ())
    assert records(log.path)[-2]["count"] == 1
    assert not reserve.exists()


def test_where_no_log_can_be_begun_nothing_of_it_stays(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs.filled()
    before = sorted(logs.vault.folder.iterdir())
    ours = os.write

    def full(descriptor: int, data: bytes) -> int:
        return 10 if b"genesis" in data else ours(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(AuditFault):
        logs.open("r2")

    assert sorted(logs.vault.folder.iterdir()) == before


def test_an_outcome_that_can_not_be_written_leaves_its_intent_open(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    with logs.open() as log:
        intent = log.intent("fetch", "HOST", 1, {})
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", lambda *_: 0)
            with pytest.raises(AuditFault):
                log.outcome(intent, "allow")

    verdict = logs.verdict(log.path)
    assert (verdict.problem, verdict.open_intents) == (None, (OpenIntent(1, "fetch", "HOST"),))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.case(97)
def test_a_crash_between_intent_and_outcome_shows_as_an_open_intent(logs: Logs) -> None:
    program = """
done = log.intent("fs.read_text", "HOST", 1, {})
log.outcome(done, "allow")
log.intent("fs.write_text", "HOST", 1, {})
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = run(program, logs.vault.folder)

    verdict = logs.verdict(logs.vault.find("last"))
    assert done.returncode == -signal.SIGKILL
    assert (verdict.whole, verdict.closed) == (True, False)
    assert verdict.open_intents == (OpenIntent(3, "fs.write_text", "HOST"),)
    assert verdict.beyond_head == 3


def test_a_crash_before_the_first_record_is_no_damage(logs: Logs) -> None:
    logs.vault.prepare()
    key, name = logs.vault.key(), "20260101-000000-1-r1.jsonl"
    logs.vault.keep_head(vault.first_head(name, "r1", key))
    os.close(logs.vault.create(name))

    verdict = logs.verdict(logs.vault.folder / name)

    assert (verdict.problem, verdict.records, verdict.closed) == (None, 0, False)


def test_half_a_line_at_the_end_is_told(logs: Logs, log: Path) -> None:
    log.write_bytes(log.read_bytes()[:-10])

    assert logs.problem(log) == (RECORDS - 1, "truncated")


# ---------------------------------------------------------------- which are kept


def test_only_so_many_logs_are_kept_and_nothing_stays_of_the_others(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "KEPT", 3)
    monkeypatch.setattr(vault, "_is_being_written", lambda _: False)

    for number in range(5):
        logs.filled(f"r{number}")

    assert [log.name.split("-")[-1] for log in logs.vault.logs()] == [
        "r2.jsonl",
        "r3.jsonl",
        "r4.jsonl",
    ]
    assert len(list(logs.vault.folder.glob("*.head"))) == 3


def test_the_logs_take_only_so_many_bytes(logs: Logs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vault, "_is_being_written", lambda _: False)
    size = logs.filled("r0").stat().st_size
    monkeypatch.setattr(vault, "KEPT_BYTES", int(size * 2.5))
    monkeypatch.setattr(vault, "RECENT", 2)

    for number in range(1, 5):
        logs.filled(f"r{number}")

    assert len(logs.vault.logs()) == 3


def test_no_log_is_so_large_that_recent_ones_are_removed_for_it(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert vault.MOST_BYTES * vault.RECENT <= vault.KEPT_BYTES
    monkeypatch.setattr(vault, "_is_being_written", lambda _: False)
    size = logs.filled("r0").stat().st_size
    monkeypatch.setattr(vault, "KEPT_BYTES", int(size * 1.5))
    monkeypatch.setattr(vault, "RECENT", 3)

    kept = [logs.filled(f"r{number}") for number in range(1, 6)]

    assert logs.vault.logs() == kept[-3:]
    assert gaps(logs) == []


def test_a_log_that_is_being_written_is_not_removed(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "KEPT", 1)
    with logs.open("r1") as log:
        logs.filled("r2")

        assert log.path.exists()


# ---------------------------------------------------------------- the row of all logs


def gaps(logs: Logs) -> list[tuple[str, str]]:
    return [(gap.code, gap.log) for gap in logs.vault.gaps()]


def erase(log: Path) -> None:
    log.unlink()
    log.with_name(f"{log.name}.head").unlink()


def row_file(logs: Logs) -> Path:
    (file,) = logs.vault.folder.glob("*.row")
    return file


def test_each_log_is_linked_to_the_one_before(logs: Logs) -> None:
    first, second = logs.filled("r1"), logs.filled("r2")

    one, two = records(first)[0], records(second)[0]
    assert (one["number"], one["before"]) == (1, None)
    last = records(first)[-1]
    assert two["number"] == 2
    assert two["before"] == {"log": first.name, "records": RECORDS, "mac": last["mac"]}
    assert (gaps(logs), logs.vault.unlinked()) == ([], [])


@pytest.mark.parametrize("which", range(3))
def test_a_log_that_was_removed_with_its_head_is_missed(logs: Logs, which: int) -> None:
    three = [logs.filled(f"r{number}") for number in range(3)]

    erase(three[which])

    assert gaps(logs) == [("missing", three[which].name)]
    assert logs.vault.find("last") == three[-1]
    assert logs.problem(three[which]) == (0, "removed")
    logs.filled("later")
    assert gaps(logs) == [("missing", three[which].name)]


def test_logs_that_lmboot_removes_itself_are_not_missed(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "KEPT", 3)
    monkeypatch.setattr(vault, "_is_being_written", lambda _: False)
    erase(logs.filled("gone"))

    for number in range(5):
        logs.filled(f"r{number}")

    assert gaps(logs) == []
    assert [records(log)[0]["number"] for log in logs.vault.logs()] == [4, 5, 6]


def test_logs_from_before_there_was_a_row_are_no_gap(logs: Logs) -> None:
    old = logs.filled("old")
    key, (first, *_) = logs.vault.key(), records(old)
    for name in ("number", "before", "mac", "prev"):
        del first[name]
    line, mac = sealed(key, BEGINNING, first)
    old.write_bytes(line)
    logs.vault.keep_head(Head(old.name, "old", 0, mac, 1).signed(key))
    row_file(logs).unlink()

    new = logs.filled("new")

    assert logs.verdict(old).whole
    assert (gaps(logs), logs.vault.unlinked()) == ([], [old.name])
    assert records(new)[0]["before"] is None


@pytest.mark.parametrize("spoil", ["removed", "edited", "[]", "of another key"])
def test_a_row_that_is_gone_or_was_edited_is_seen_also_after_the_next_run(
    logs: Logs, tmp_path: Path, spoil: str
) -> None:
    erased, kept = logs.filled("r1"), logs.filled("r2")
    erase(erased)
    file = row_file(logs)
    if spoil == "removed":
        file.unlink()
    elif spoil == "of another key":
        other = Logs(Vault(tmp_path / "other", MemoryKeychain()))
        other.filled()
        file.write_bytes(row_file(other).read_bytes())
    else:
        text = file.read_text().replace(erased.name, "x.jsonl")
        file.write_text(text if spoil == "edited" else spoil)

    assert gaps(logs) == [("row", kept.name)]
    new = logs.filled("r3")
    assert gaps(logs) == [("row", new.name)]
    assert records(new)[0]["number"] == 3
    logs.filled("r4")
    assert gaps(logs) == [("row", new.name)]


def test_an_older_row_that_is_put_back_is_told_by_a_later_log_or_the_keyring(
    tmp_path: Path,
) -> None:
    keychain = MemoryKeychain(works=True)
    logs = Logs(Vault(tmp_path / "audit", keychain))
    logs.filled("r1")
    older = row_file(logs).read_text()
    second, third = logs.filled("r2"), logs.filled("r3")
    row_file(logs).write_text(older)

    assert [code for code, _ in gaps(logs)] == ["row"]
    erase(second)
    erase(third)
    assert gaps(logs) == [("row", "")]
    keychain.works = False
    assert Logs(Vault(tmp_path / "audit", keychain)).vault.logs()  # nobody knows the key then

    keychain.works = True
    fourth = logs.filled("r4")
    assert gaps(logs) == [("row", fourth.name)]
    assert records(fourth)[0]["number"] == 4


def test_a_log_that_was_put_back_as_it_was_is_seen_by_the_next_one(logs: Logs) -> None:
    with logs.open("r1") as log:
        fill(log, 1)
        head = log.path.with_name(f"{log.path.name}.head")
        log._keep_head()
        early, early_head = log.path.read_bytes(), head.read_bytes()
    logs.filled("r2")

    log.path.write_bytes(early)
    head.write_bytes(early_head)

    assert logs.verdict(log.path).whole
    assert gaps(logs) == [("rewound", log.path.name)]


def test_a_log_whose_lmboot_ended_before_it_was_in_the_row_joins_it(logs: Logs) -> None:
    logs.filled("r1")
    before = row_file(logs).read_text()
    orphan = logs.filled("r2")
    row_file(logs).write_text(before)

    new = logs.filled("r3")

    assert (gaps(logs), records(new)[0]["number"]) == ([], 3)
    assert records(new)[0]["before"]["log"] == orphan.name


def test_a_row_that_can_not_be_kept_is_a_reason_to_deny_and_leaves_nothing(
    logs: Logs, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = logs.filled("r1")

    def full(self: Row, key: bytes) -> Row:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Row, "signed", full)
        with pytest.raises(AuditFault, match="No space"):
            logs.open("r2")

    assert (logs.vault.logs(), gaps(logs)) == ([first], [])


def test_rows_of_two_keys_do_not_miss_each_others_logs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keyring that is locked now: what its key has signed is neither missed nor removed."""
    monkeypatch.setattr(vault, "KEPT", 2)
    monkeypatch.setattr(vault, "_is_being_written", lambda _: False)
    keychain = MemoryKeychain(works=True)
    logs = Logs(Vault(tmp_path / "audit", keychain))
    logs.filled("r1")
    keychain.works = False
    for number in range(4):
        logs.filled(f"s{number}")
    keychain.works = True

    assert gaps(logs) == []
    assert len(logs.vault.logs()) == 3


@SLOW
@given(st.text(max_size=300))
def test_any_text_can_stand_where_the_row_is(logs: Logs, text: str) -> None:
    logs.filled("r1")
    for file in logs.vault.folder.glob("*.row"):
        file.write_text(text, "utf-8", "replace")

    assert [code for code, _ in gaps(logs)] == ["row"]
    logs.vault.logs()


# ---------------------------------------------------------------- which is meant


def test_a_log_is_found_by_its_run_its_name_its_file_or_as_the_last(
    logs: Logs, tmp_path: Path
) -> None:
    one, _, two = (logs.filled(run) for run in ("alpha", "alpha-2", "beta"))
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(one.read_bytes())

    assert logs.vault.find("alpha") == one
    assert logs.vault.find("be") == logs.vault.find(two.name[:22]) == two
    assert logs.vault.find(str(one)) == one
    assert logs.vault.find("last") == two
    assert logs.vault.find(str(copy)) == copy


@pytest.mark.parametrize("wanted", ["", "gamma", "a", "../alpha", "\x00", "x" * 5000, "\udcff"])
def test_a_run_that_is_not_there_or_could_be_two_is_told(logs: Logs, wanted: str) -> None:
    logs.filled("alpha")
    logs.filled("alps")

    with pytest.raises(FileUnreadable):
        logs.vault.find(wanted)


def test_a_copy_is_judged_by_the_head_that_is_kept_here(
    logs: Logs, log: Path, tmp_path: Path
) -> None:
    copy = tmp_path / log.name
    copy.write_bytes(b"".join(lines(log)[:4]))

    assert logs.problem(copy) == (4, "truncated")


def test_without_any_key_nothing_is_claimed(tmp_path: Path, log: Path) -> None:
    with pytest.raises(FileUnreadable, match="no key"):
        Vault(tmp_path / "empty", MemoryKeychain()).verify(log)


def test_a_fault_is_a_sandboxs(logs: Logs) -> None:
    logs.vault.folder.parent.mkdir()
    logs.vault.folder.write_text("in the way")

    with pytest.raises(AuditFault) as fault:
        AuditLog(logs.vault, "r1", posture={}, payload=None)

    assert fault.value.exit_code == 4
    assert "permissions" in fault.value.hint
