"""The look-alike in a thread: what a window's test can make it do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from tests.gui import server as rig
from tests.gui.server import Server

ASKED = {"model": "acme/tiny-4b", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
REPLY = "0123456789" * 5


@contextmanager
def asking(server: Server) -> Iterator[Iterator[str]]:
    """Yield the lines of an answer while they come."""
    url = f"{server.base}/v1/chat/completions"
    with httpx.stream("POST", url, json=ASKED, timeout=10) as answer:
        yield answer.iter_lines()


def whole(server: Server) -> str:
    with asking(server) as lines:
        return "".join(lines)


def test_models_can_go_and_come_while_it_runs() -> None:
    with Server() as server:
        listed = []
        for models in (server.look.models, []):
            server.look.models = list(models)
            native = httpx.get(f"{server.base}/api/v1/models").json()["models"]
            openai = httpx.get(f"{server.base}/v1/models").json()["data"]
            listed.append((len(native), len(openai)))

    assert listed == [(3, 3), (0, 0)]


def test_a_token_is_demanded() -> None:
    with Server(token="s3cret") as server:
        refused = httpx.get(f"{server.base}/v1/models")
        headers = {"Authorization": "Bearer s3cret"}
        allowed = httpx.get(f"{server.base}/v1/models", headers=headers)

    assert (refused.status_code, allowed.status_code) == (401, 200)


def test_a_model_loads_for_as_long_as_the_test_likes() -> None:
    answers: list[str] = []
    with Server("hold", replies=[REPLY]) as server:
        client = threading.Thread(target=lambda: answers.append(whole(server)))
        client.start()
        server.asked()
        assert answers == []
        server.release()
        client.join()

    assert "[DONE]" in answers[0]


@pytest.mark.parametrize("script", ["trickle", "pause"])
def test_an_answer_stays_unfinished_until_it_is_released(script: str) -> None:
    with Server(script, replies=[REPLY]) as server, asking(server) as lines:
        first = next(line for line in lines if "0123" in line)
        server.release()
        rest = "".join(lines)

    assert "56789" not in first
    assert "[DONE]" in rest


def test_a_stream_that_stalls_ends_when_the_client_goes() -> None:
    with Server("stall", replies=[REPLY]) as server:
        with asking(server) as lines:
            assert next(line for line in lines if "0123" in line)
        server.disconnected()


def test_what_comes_next_can_be_changed() -> None:
    with Server("cut", replies=[REPLY]) as server:
        with pytest.raises(httpx.RemoteProtocolError):
            whole(server)
        server.play("plain", replies=["garbage", "good"])
        garbage, good = whole(server), whole(server)

        assert len(server.asked(3)) == 3
    assert ("garb" in garbage, "good" in good) == (True, True)


def test_a_wait_in_vain_says_what_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig, "PATIENCE", 0.1)
    with Server() as server, pytest.raises(AssertionError, match="1 chats; there were 0"):
        server.asked()
