from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.errors import UsageFault
from lmboot.runtime.policy import OPERATIONS, ROUTES, Route, Rule, ceiling_of, unasked
from lmboot.runtime.routes import Routes, below, stricter

ROUTE = st.sampled_from(ROUTES)
TABLE = st.dictionaries(st.sampled_from(sorted(OPERATIONS)), ROUTE)
ORDER: list[Route] = ["DENY", "EMULATE", "HOST"]


def all_of(route: Route) -> dict[str, Route]:
    return {op: route for op in OPERATIONS}


@given(ROUTE, ROUTE, ROUTE)
def test_the_strictest_of_the_three_counts(ceiling: Route, manifest: Route, live: Route) -> None:
    routes = Routes({"fs.list": ceiling}, {"fs.list": manifest}, {"fs.list": live})

    assert routes.effective("fs.list") == min(ceiling, manifest, live, key=ORDER.index)


@pytest.mark.parametrize("without", [0, 1, 2])
def test_an_operation_that_one_table_does_not_name_is_denied(without: int) -> None:
    ceiling, manifest, live = tables = [all_of("HOST") for _ in range(3)]
    del tables[without]["time"]

    assert Routes(ceiling, manifest, live).effective("time") == "DENY"


@pytest.mark.parametrize("op", ["fs.rеad_text", "__class__", "", "TIME", "time "])
def test_case_76_an_unknown_operation_is_denied_whatever_the_tables_say(op: str) -> None:
    table: dict[str, Route] = {op: "HOST"}

    assert Routes(table, table, table).effective(op) == "DENY"


def test_what_the_host_never_performs_is_emulated_at_most() -> None:
    routes = Routes.agreed(all_of("HOST"), all_of("HOST"))

    assert [op for op, route in routes.table().items() if route != "HOST"] == ["code.exec_python"]
    assert routes.flip("code.exec_python", "HOST").effective("code.exec_python") == "EMULATE"
    assert routes.held_back("code.exec_python", "HOST") == "the host never performs it"
    assert routes.held_back("code.exec_python", "EMULATE") == ""


@given(TABLE, TABLE)
def test_without_a_border_what_the_host_would_do_is_denied_and_all_else_as_it_is(
    ceiling: dict[str, Route], manifest: dict[str, Route]
) -> None:
    within = Routes.agreed(ceiling, manifest).table()

    without = Routes.agreed(ceiling, manifest, bordered=False).table()

    assert without == {op: "DENY" if to == "HOST" else to for op, to in within.items()}


@given(st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), ROUTE)))
def test_without_a_border_nothing_makes_the_host_do_anything(
    flips: list[tuple[str, Route]],
) -> None:
    routes = Routes.agreed(all_of("HOST"), all_of("HOST"), bordered=False)
    for op, route in flips:
        routes = routes.flip(op, route)

    assert "HOST" not in routes.table().values()


def test_without_a_border_an_operation_can_be_emulated_and_why_no_more_is_said() -> None:
    routes = Routes.agreed(all_of("HOST"), all_of("HOST"), bordered=False)

    assert routes.effective("time") == "DENY"
    assert routes.flip("time", "EMULATE").effective("time") == "EMULATE"
    assert routes.held_back("time", "EMULATE") == ""
    assert routes.held_back("time", "HOST") == "without a border the host performs nothing"


@pytest.mark.parametrize(
    ("rule", "most"), [("DENY", "DENY"), ("EMULATE", "EMULATE"), ("ASK", "HOST"), ("HOST", "HOST")]
)
def test_a_policy_is_the_ceiling_and_asks_unless_it_says_otherwise(rule: Rule, most: str) -> None:
    rules: dict[str, Rule] = {"fetch": rule}

    assert ceiling_of(rules) == {**dict.fromkeys(OPERATIONS, "HOST"), "fetch": most}
    assert unasked(rules) == ({"fetch"} if rule == "HOST" else set())


@pytest.mark.parametrize("op", sorted(OPERATIONS))
def test_whatever_is_asked_for_can_be_emulated(op: str) -> None:
    routes = Routes.agreed(all_of("HOST"), all_of("HOST")).flip(op, "EMULATE")

    assert routes.effective(op) == "EMULATE"


def test_a_start_is_what_policy_and_manifest_allow() -> None:
    ceiling: dict[str, Route] = {"time": "HOST", "fs.list": "EMULATE"}
    routes = Routes.agreed(ceiling, all_of("HOST"))

    assert (routes.effective("time"), routes.effective("fs.list")) == ("HOST", "EMULATE")
    assert routes.effective("env") == "DENY"
    assert routes.table() == {op: routes.effective(op) for op in OPERATIONS}


@given(TABLE, TABLE, st.sampled_from(sorted(OPERATIONS)), ROUTE)
def test_what_keeps_an_operation_from_a_route_is_told_just_where_it_is_kept(
    ceiling: dict[str, Route], manifest: dict[str, Route], op: str, wanted: Route
) -> None:
    routes = Routes.agreed(ceiling, manifest)

    for each in (routes, Routes.agreed(ceiling, manifest, bordered=False)):
        kept = each.flip(op, wanted).effective(op) != wanted
        assert bool(each.held_back(op, wanted)) == kept


def test_of_two_that_keep_it_back_the_one_that_nobody_can_change_is_named() -> None:
    routes = Routes.agreed({"time": "EMULATE"}, {"time": "DENY"})

    assert routes.held_back("time", "HOST") == "the policy allows no more than EMULATE"
    assert routes.held_back("time", "EMULATE") == "the payload asked for no more than DENY"
    assert routes.held_back("time", "DENY") == ""


def test_a_flip_is_a_new_version_and_leaves_the_old_one_as_it_was() -> None:
    old = Routes.agreed(all_of("HOST"), all_of("HOST"))
    new = old.flip("time", "DENY")

    assert (old.version, old.effective("time")) == (1, "HOST")
    assert (new.version, new.effective("time")) == (2, "DENY")
    assert stricter(old, new, "time")
    assert not stricter(new, old, "time")
    assert not stricter(old, new, "env")


@given(TABLE, TABLE, st.lists(st.tuples(st.sampled_from(sorted(OPERATIONS)), ROUTE)))
def test_no_flip_goes_above_ceiling_or_manifest(
    ceiling: dict[str, Route], manifest: dict[str, Route], flips: list[tuple[str, Route]]
) -> None:
    routes = Routes.agreed(ceiling, manifest)
    for op, route in flips:
        routes = routes.flip(op, route)

    assert routes.version == 1 + len(flips)
    for op in OPERATIONS:
        assert not below(ceiling.get(op, "DENY"), routes.effective(op))
        assert not below(manifest.get(op, "DENY"), routes.effective(op))


def test_a_short_name_flips_the_operation_that_it_stands_for() -> None:
    routes = Routes.agreed(all_of("HOST"), all_of("HOST")).flip("read", "DENY")

    assert routes.effective("fs.read_text") == "DENY"


@pytest.mark.parametrize(("op", "route"), [("nothing", "DENY"), ("time", "host"), ("time", None)])
def test_a_flip_of_what_nobody_knows_is_refused(op: str, route: Any) -> None:
    with pytest.raises(UsageFault):
        Routes.agreed({}, {}).flip(op, route)


def test_nobody_can_change_a_table_behind_its_back() -> None:
    ceiling = all_of("HOST")
    routes = Routes.agreed(ceiling, all_of("HOST"))
    ceiling["time"] = "DENY"

    assert routes.effective("time") == "HOST"
    with pytest.raises(TypeError):
        routes.live["time"] = "DENY"  # type: ignore[index]  # that it can't be is the point


def test_a_grant_that_no_route_lets_through_names_the_route_that_does() -> None:
    routes = Routes.agreed(all_of("HOST"), {"fs.list": "HOST", "fs.stat": "HOST"})

    assert routes.unused(["fs.list", "fetch"]) == ""
    closed = routes.flip("fs.list", "DENY")
    assert closed.unused(["fs.list", "fs.stat"]) == ""
    assert closed.unused(["fs.list", "fetch"]) == "not before `:route fs.list HOST`"
    both = closed.flip("stat", "EMULATE").unused(["fs.list", "fs.stat", "fetch"])
    assert both == "not before `:route fs.list HOST` or `:route fs.stat HOST`"


def test_a_grant_that_no_flip_can_let_through_says_what_rules_it_out() -> None:
    routes = Routes.agreed({**all_of("HOST"), "time": "EMULATE"}, {"time": "HOST"})

    assert routes.unused(["time"]) == "nothing comes of it: the policy allows no more than EMULATE"
    none_asked = "nothing comes of it: the payload asked for no more than DENY"
    assert routes.unused(["fs.list", "fs.stat"]) == none_asked
    assert routes.unused(["fs.list", "time"]) == routes.unused(["time"])  # the freest, no more
    without = Routes.agreed(all_of("HOST"), all_of("HOST"), bordered=False)
    assert (
        without.unused(["time"])
        == "nothing comes of it: without a border the host performs nothing"
    )
