from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmboot.strictjson import MAX_DEPTH, Broken, Budget, Places, decode, quick

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), PLAIN, max_size=5), st.sampled_from([None, 1]))
def test_what_json_writes_is_read_back_without_complaint(
    value: dict[str, Any], indent: int | None
) -> None:
    text = json.dumps(value, indent=indent)

    decoded = decode(text)

    assert (decoded.value, decoded.end) == (value, len(text))
    assert (decoded.repairs, decoded.problems) == ([], [])


@given(st.dictionaries(st.text(), PLAIN, max_size=5), st.integers(0, 3), st.data())
def test_what_is_read_quickly_is_what_is_read_without_complaint(
    value: dict[str, Any], changes: int, data: Any
) -> None:
    text = json.dumps(value, ensure_ascii=False)
    for _ in range(changes):
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(st.sampled_from([*'"{}[]:,\\0.-e1 \n\x01', "NaN", "1e999", '"a":1,']))
        text = text[:at] + piece + text[at + data.draw(st.integers(0, 2)) :]
    found = quick(text)

    if found is not None:
        text = text.strip(" \t\r\n")
        decoded = decode(text)
        assert (decoded.value, decoded.end, decoded.problems) == (found, len(text), [])
        assert json.dumps(found) == json.dumps(decoded.value)  # 1 is not 1.0, nor True


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "1", '{"a":1}x', '{"a":1,"a":1}', '{"a":NaN}', '{"a":-Infinity}'),
        *('{"a":1e999}', '{"a":9007199254740993}', '{"a":' + "9" * 5000 + "}", '{"a":"\\ud800"}'),
        *('{"a":"\x01"}', '{"a":' + "[" * 32 + "]" * 32 + "}", '{"a":"' + "x" * 20_000 + '"}'),
    ],
)
def test_what_may_not_be_read_quickly_is_not(text: str) -> None:
    assert quick(text) is None


@given(st.text())
def test_any_text_is_read_or_broken_but_raises_nothing_else(text: str) -> None:
    code = None
    try:
        decode("{" + text, lenient=True)
    except Broken as broken:
        code = broken.code

    assert code in (None, "syntax", "truncated", "too_deep")


@given(st.dictionaries(st.text(), PLAIN, min_size=1, max_size=3), st.data())
def test_every_beginning_of_an_object_is_truncated(value: dict[str, Any], data: Any) -> None:
    text = json.dumps(value)
    cut = data.draw(st.integers(1, len(text) - 1))

    with pytest.raises(Broken) as caught:
        decode(text[:cut])

    assert caught.value.code in ("truncated", "syntax")
    if text[cut - 1] not in "\\u0123456789abcdefABCDEF-+.eE":  # not inside an escape
        assert caught.value.code == "truncated"


@pytest.mark.parametrize(
    "text",
    [
        "{'a': 1}", '{"a": True}', '{"a": 1 "b": 2}', '{"a" 1}', '{"a": 01}', '{"a": +1}',
        '{"a": .5}', '{"a": 1,}', '{,}', '{"a": [1,]}', '{"a": "\\x41"}', '{"a": "\\u12g4"}',
        '{"a": "x\x01"}', '{"a": "x\ny"}', "{a: 1}", '{"a": undef}', '{"a": 1;}', '{"a": \'x\'}',
    ],
)  # fmt: skip
def test_what_is_not_json_is_a_syntax_error(text: str) -> None:
    with pytest.raises(Broken) as caught:
        decode(text)

    assert caught.value.code == "syntax"


def test_a_lenient_reading_mends_and_lists_line_breaks_tabs_and_trailing_commas() -> None:
    decoded = decode('{"a": "x\r\ny\tz\nw", "b": [1, 2,],}', lenient=True)

    assert decoded.value == {"a": "x\ny\tz\nw", "b": [1, 2]}
    assert [tuple(repair) for repair in decoded.repairs] == [
        ("literal_newline", "a"),
        ("literal_tab", "a"),
        ("trailing_comma", "line 3, column 15"),
        ("trailing_comma", "line 3, column 17"),
    ]


def test_an_escaped_carriage_return_is_left_as_it_is() -> None:
    assert decode('{"a": "x\\r\\ny"}', lenient=True).value == {"a": "x\r\ny"}


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ('{"a": {"b": 1, "b": 2}}', "duplicate_key", "a.b"),
        ('{"a": [NaN]}', "number", "a[0]"),
        ('{"a": -Infinity}', "number", "a"),
        ('{"a": 1e999}', "number", "a"),
        ('{"a": 9007199254740993}', "number", "a"),
        ('{"a": %s}' % ("9" * 5000), "number", "a"),
        ('{"a": "\\ud800"}', "text", "a"),
        ('{"a": "\\udc00\\ud800"}', "text", "a"),
        ('{"\\ud800": 1}', "text", "reply"),
    ],
)
@pytest.mark.case(17, 18)
def test_what_can_be_read_but_not_accepted_is_listed_with_its_place(
    text: str, code: str, where: str
) -> None:
    assert [(each.code, each.where) for each in decode(text).problems] == [(code, where)]


def test_two_to_the_53_and_a_surrogate_pair_are_accepted() -> None:
    decoded = decode('{"a": 9007199254740992, "b": -9007199254740992, "c": "\\ud83d\\ude00"}')

    assert decoded.problems == []
    assert decoded.value["c"] == "\U0001f600"


def test_the_deepest_nesting_that_is_allowed_is_read_and_one_more_is_not() -> None:
    def nested(levels: int) -> str:
        return '{"a":' * levels + "1" + "}" * levels

    assert decode(nested(MAX_DEPTH)).problems == []
    with pytest.raises(Broken) as caught:
        decode(nested(MAX_DEPTH + 1))
    assert caught.value.code == "too_deep"


def test_a_spent_budget_ends_the_reading() -> None:
    with pytest.raises(Broken) as caught:
        decode('{"a": [1, 2, 3]}', budget=Budget(3))

    assert caught.value.code == "too_big"


def test_places_count_lines_and_columns_from_one() -> None:
    places = Places("ab\ncd\n")

    assert [places(position) for position in (0, 2, 3, 6)] == [
        "line 1, column 1",
        "line 1, column 3",
        "line 2, column 1",
        "line 3, column 1",
    ]
