"""Which sandboxes can be used here."""

from __future__ import annotations

import pytest

from lmboot.app.sandboxes import CONTAINERS, USUAL, first_usable
from lmboot.errors import UsageFault
from lmboot.runtime.backends import container
from lmboot.runtime.properties import PROPERTIES
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
