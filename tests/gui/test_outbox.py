from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import count
from threading import Event, Thread

from hypothesis import given
from hypothesis import strategies as st

from lmboot.gui.lastline import Run
from lmboot.gui.outbox import LONGEST_HOLD, ROOM, Budget, Item, Outbox, Skipped
from lmboot.gui.textstyle import PLAIN, Style

BOLD = Style(bold=True)
ALL = Budget(1 << 30, 1 << 30, 1e9)


def nothing() -> None:
    """Stand for a producer that does not wait."""


def put(outbox: Outbox[str], stream: str, *texts: str, generation: int | None = None) -> bool:
    runs = [Run(text) for text in texts]
    return outbox.put(stream, runs, nothing, generation=generation)


def text_of(items: list[Item | Skipped]) -> str:
    return "".join(item.run.text for item in items if isinstance(item, Item))


def test_text_comes_in_the_order_it_was_put_and_small_pieces_are_joined() -> None:
    outbox = Outbox[str]()
    put(outbox, "rt", "one ", "two ")
    outbox.put("rt", [Run("bold", BOLD), Run("!", BOLD, back=1)], nothing)
    put(outbox, "ai", "hello")
    put(outbox, "rt", "three ")
    put(outbox, "sys", "note")
    put(outbox, "rt", "four")

    drained = outbox.drain()

    assert drained.items == [
        Item("rt", Run("one two ")),
        Item("rt", Run("bold", BOLD)),
        Item("rt", Run("!", BOLD, back=1)),
        Item("ai", Run("hello")),
        Item("rt", Run("three ")),
        Item("sys", Run("note")),
        Item("rt", Run("four")),
    ]
    assert not drained.more
    assert outbox.drain() == ([], [], False)


def test_messages_come_first_and_all_of_them() -> None:
    outbox = Outbox[str]()
    put(outbox, "rt", "x" * 100_000)
    for number in range(1000):
        outbox.tell(str(number))

    drained = outbox.drain(Budget(characters=1))

    assert drained.messages == [str(number) for number in range(1000)]
    assert drained.items == [Item("rt", Run("x"))]
    assert drained.more


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.text("xy\n", max_size=9), st.integers(0, 1))),
    st.integers(1, 10),
    st.integers(1, 4),
)
def test_a_drain_keeps_to_its_budget_and_loses_nothing(
    texts: list[tuple[str, str, int]], characters: int, runs: int
) -> None:
    outbox, put_in = Outbox[str](), defaultdict[str, str](str)
    for stream, text, bold in texts:
        outbox.put(stream, [Run(text, BOLD if bold else PLAIN)], nothing)
        put_in[stream] += text
    came = defaultdict[str, str](str)
    more = True
    while more:
        drained = outbox.drain(Budget(characters, runs))
        assert len(text_of(drained.items)) <= characters
        assert len(drained.items) <= runs
        for item in drained.items:
            assert isinstance(item, Item)
            came[item.stream] += item.run.text
        more = drained.more

    assert came == put_in


def test_a_drain_ends_at_its_deadline_but_brings_something() -> None:
    ticks = count()
    outbox = Outbox[str](clock=lambda: float(next(ticks)))
    outbox.put("rt", [Run("a"), Run("b", BOLD), Run("c")], nothing)

    assert text_of(outbox.drain(Budget(seconds=0.5)).items) == "a"
    assert text_of(outbox.drain(Budget(seconds=2)).items) == "bc"


def test_a_long_run_is_cut_and_takes_back_only_once() -> None:
    outbox = Outbox[str]()
    outbox.put("rt", [Run("x" * 40_000, BOLD, back=3)], nothing)

    items = [item for _ in range(4) for item in outbox.drain(Budget(characters=10_000)).items]

    runs = [item.run for item in items if isinstance(item, Item)]
    assert "".join(run.text for run in runs) == "x" * 40_000
    assert [run.back for run in runs if run.back] == [runs[0].back] == [3]


def test_a_full_stream_makes_its_producer_wait_until_half_is_free_and_no_other_one() -> None:
    outbox, woken = Outbox[str](room=1000), list[str]()
    text = "x" * 600

    assert outbox.put("rt", [Run(text)], lambda: woken.append("early"))
    assert not outbox.put("rt", [Run(text)], lambda: woken.append("rt"))
    assert outbox.put("ai", [Run(text)], lambda: woken.append("ai"))
    outbox.drain(Budget(characters=500))
    assert woken == []
    outbox.drain(Budget(characters=500))
    outbox.drain()

    assert woken == ["rt"]


def test_a_million_empty_runs_fill_it_too() -> None:
    outbox = Outbox[str]()
    puts = 0
    while outbox.put("rt", [Run("", BOLD if puts % 2 else PLAIN)], nothing):
        puts += 1

    assert puts <= ROOM // 64


def test_a_producer_that_writes_character_by_character_is_joined() -> None:
    outbox = Outbox[str]()
    for _ in range(10_000):
        put(outbox, "ai", "x")

    assert [len(item.run.text) for item in outbox.drain().items if isinstance(item, Item)] == [
        4096,
        4096,
        1808,
    ]


def test_nothing_of_an_older_run_comes_out() -> None:
    outbox = Outbox[str]()
    old = outbox.begin()
    put(outbox, "ai", "late ", generation=old)
    outbox.tell("consent", generation=old)
    put(outbox, "ai", "note ")
    put(outbox, "ai", "late", generation=old)
    outbox.tell("closing")

    new = outbox.begin()
    put(outbox, "ai", "later ", generation=old)
    outbox.tell("consent", generation=old)
    put(outbox, "ai", "new", generation=new)
    outbox.tell("asked", generation=new)

    assert new == outbox.generation == old + 1
    drained = outbox.drain()
    assert drained.messages == ["closing", "asked"]
    assert text_of(drained.items) == "note new"


def test_a_new_run_lets_the_producers_of_the_old_one_go() -> None:
    outbox, woken = Outbox[str](room=10), list[str]()
    old = outbox.begin()
    assert not outbox.put("rt", [Run("x")], lambda: woken.append("rt"), generation=old)

    outbox.begin()

    assert woken == ["rt"]
    assert outbox.put("rt", [Run("x" * 99)], nothing, generation=old)
    assert not outbox.drain().items
    assert woken == ["rt"]


def test_what_the_scrollback_cannot_hold_is_skipped_and_told_in_one_row() -> None:
    outbox = Outbox[str](scrollback=100)
    put(outbox, "ai", "before ")
    for number in range(1000):
        put(outbox, "rt", f"line {number}\n")
    put(outbox, "rt", "half")

    items = outbox.drain(ALL).items

    assert items[:2] == [Item("ai", Run("before ")), Skipped("rt", 901)]
    tail = "".join(f"line {number}\n" for number in range(901, 1000))
    assert text_of(items[2:]) == tail + "half"
    assert not any(isinstance(item, Skipped) for item in items[2:])


def test_a_backlog_that_fits_is_shown_whole() -> None:
    outbox = Outbox[str](scrollback=100)
    put(outbox, "rt", "x\n" * 100)

    assert outbox.drain(ALL).items == [Item("rt", Run("x\n" * 100))]


@given(st.lists(st.text("ab\n", max_size=8), max_size=30), st.integers(2, 9))
def test_after_skipping_whole_rows_are_left(texts: list[str], scrollback: int) -> None:
    outbox = Outbox[str](scrollback=scrollback)
    for number, text in enumerate(texts):
        outbox.put("rt", [Run(text, BOLD if number % 2 else PLAIN)], nothing)
    rows = "".join(texts).split("\n")

    items = outbox.drain(ALL).items

    skipped = sum(item.rows for item in items if isinstance(item, Skipped))
    assert skipped == (len(rows) - scrollback if len(rows) - 1 > scrollback else 0)
    assert text_of(items) == "\n".join(rows[skipped:])


def test_the_row_for_skipped_lines_says_how_many_and_where_they_are() -> None:
    assert Skipped("rt", 143_210).text == (
        "… 143,210 lines skipped, the full text is in the transcript"
    )


def produce(outbox: Outbox[str], stream: str, lines: int, waiting: Event) -> None:
    """Put lines as a well-behaved producer does: when told to wait, wait until woken."""
    for number in range(lines):
        room = Event()
        if not outbox.put(stream, [Run(f"{stream} {number}\n")], room.set):
            waiting.set()
            assert room.wait(60)
    outbox.tell(stream)


def started(target: Callable[..., None], *arguments: object) -> Thread:
    thread = Thread(target=target, args=arguments, daemon=True)
    thread.start()
    return thread


def test_threads_lose_nothing_keep_their_order_and_are_slowed() -> None:
    outbox = Outbox[str](room=20_000, scrollback=1 << 30)
    streams = {"rt": Event(), "rt!": Event(), "ai": Event()}
    threads = [started(produce, outbox, name, 5000, event) for name, event in streams.items()]
    assert all(waiting.wait(60) for waiting in streams.values())
    came, ended = defaultdict[str, str](str), set[str]()
    more = True
    while more or len(ended) < 3:
        drained = outbox.drain()
        ended |= set(drained.messages)
        more = drained.more
        for item in drained.items:
            assert isinstance(item, Item)
            came[item.stream] += item.run.text
    for thread in threads:
        thread.join(60)

    assert came == {
        stream: "".join(f"{stream} {number}\n" for number in range(5000)) for stream in streams
    }


def test_a_producer_that_waits_is_let_go_by_a_new_run() -> None:
    outbox, went_on = Outbox[str](room=10), Event()
    old, waiting = outbox.begin(), Event()

    def flood() -> None:
        while True:
            room = Event()
            if outbox.put("rt", [Run("x" * 99)], room.set, generation=old):
                went_on.set()
                return
            waiting.set()
            assert room.wait(60)

    thread = started(flood)
    assert waiting.wait(60)
    assert not went_on.is_set()
    outbox.begin()

    assert went_on.wait(60)
    thread.join(60)


def test_while_the_window_draws_whoever_puts_text_waits() -> None:
    outbox, done = Outbox[str](), Event()

    def produce() -> None:
        put(outbox, "rt", "text")
        done.set()

    outbox.hold()
    thread = Thread(target=produce)
    thread.start()
    assert not done.wait(LONGEST_HOLD / 5)
    outbox.go_on()
    thread.join()

    assert text_of(outbox.drain(ALL).items) == "text"


def test_nobody_waits_for_ever_for_a_window_that_does_not_go_on() -> None:
    outbox = Outbox[str]()
    outbox.hold()

    for _ in range(1000):  # each of them waiting, it would take a minute
        put(outbox, "rt", "text")

    assert text_of(outbox.drain(ALL).items) == "text" * 1000
