"""Which sandboxes can be used here."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lmboot.app.sandboxes import CONTAINERS, USUAL, first_usable
from lmboot.errors import SandboxFault, UsageFault
from lmboot.runtime import posture
from lmboot.runtime.backends import Backend, container
from lmboot.runtime.posture import Wish
from lmboot.runtime.properties import PROPERTIES
from lmboot.runtime.registry import Entry
from tests.runtime.fake_docker import serving


@pytest.mark.sandbox
async def test_the_best_sandbox_of_this_machine_comes_with_what_was_proven() -> None:
    found = await first_usable(USUAL)

    assert found.name
    assert set(found.properties) == set(PROPERTIES)
    assert found.fault is None


@pytest.mark.sandbox
async def test_what_is_not_usable_is_passed_over() -> None:
    assert (await first_usable(("nonsense", *USUAL))).name == (await first_usable(USUAL)).name


async def test_where_none_is_usable_the_first_ones_reason_is_told() -> None:
    found = await first_usable(("first", "second"))

    assert found.name == ""
    assert isinstance(found.fault, UsageFault)
    assert "'first'" in str(found.fault)


async def test_nothing_without_a_border_counts_as_usable() -> None:
    assert (await first_usable(("none",))).name == ""


@pytest.mark.sandbox
async def test_without_podman_a_container_is_docker_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "trusted_program", lambda _: None)

    with serving() as docker:
        monkeypatch.setenv("DOCKER_HOST", f"unix://{docker.path}")
        found = await first_usable(CONTAINERS)

    assert (found.name, found.fault) == ("docker", None)
    assert found.properties["fs_read"] == "enforced"


async def test_without_any_container_podman_is_what_is_recommended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(container, "trusted_program", lambda _: None)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")

    found = await first_usable(CONTAINERS)

    assert found.name == ""
    assert found.fault is not None
    assert "apt install podman" in found.fault.hint


class Withheld(Entry):
    """A back end that is slow to be made ready, and then not usable, with the image named."""

    async def prepare(self, say: Callable[[str], None]) -> None:
        say("preparing it, once")

    def find(self, image: str | None = None) -> Backend:
        raise SandboxFault(f"it can't run {image}")


async def test_what_is_looked_for_is_what_a_program_would_be_launched_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The image of the settings, and that somebody is told of what takes long."""
    monkeypatch.setattr(posture, "BACKENDS", {"podman": Withheld("container")})
    said: list[str] = []

    found = await first_usable(("podman",), Wish(image="python", say=said.append))

    assert (found.name, str(found.fault)) == ("", "it can't run python")
    assert said == ["preparing it, once"]
