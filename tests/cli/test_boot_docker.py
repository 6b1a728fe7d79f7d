"""Whole sessions in docker, whose service is one by hand: the broker, the end, what is left."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.program import Bench
from tests.cli.test_boot_border import ASKS
from tests.runtime.fake_docker import FakeDocker, serving

pytestmark = pytest.mark.sandbox


@pytest.fixture
def docker(bench: Bench) -> Iterator[FakeDocker]:
    with serving() as found:
        bench.env["DOCKER_HOST"] = f"unix://{found.path}"
        yield found


async def test_a_session_in_docker_asks_its_broker_and_is_quit(
    bench: Bench, docker: FakeDocker
) -> None:
    file = bench.payload(ASKS, routes={"time": "HOST"})
    words = ["boot", "--payload", file, "--yes", "--json", "--sandbox", "docker"]

    done = await bench.run(*words, lines=[":grant time", ":rt time", ":quit"])

    assert json.loads(done.pane("rt")[1])["unix"] > 1_600_000_000
    assert "runtime started in docker" in done.pane("sys")
    assert (done.code, docker.containers) == (0, {})


async def test_one_that_is_killed_leaves_nothing_in_docker(
    bench: Bench, docker: FakeDocker
) -> None:
    file = bench.payload("import time; print('ready', flush=True); time.sleep(600)")

    async with bench.started(
        *("boot", "--payload", file, "--yes", "--sandbox", "docker")
    ) as session:
        await session.until("ready")
        assert len(docker.containers) == 1
        session.process.kill()
        await session.process.wait()
