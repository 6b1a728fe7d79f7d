"""The GGUF header check: real files, other files, damaged ones, and hostile ones."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lmboot.errors import FileUnreadable
from lmboot.gguf import Header, read_header
from tests.connections.tiny_gguf import write_tiny_gguf

SEED = Path(__file__).parent.parent / "assets" / "seed" / "seed.gguf"
U32, U64, FLOAT, BOOL, STRING, ARRAY = 4, 10, 6, 7, 8, 9


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def says(key: str, value: str) -> bytes:
    return pair(key, STRING, text(value))


def number(key: str, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def tensor(*shape: int, kind: int = 0, offset: int = 0, name: str = "w") -> bytes:
    dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
    return text(name) + dimensions + struct.pack("<IQ", kind, offset)


LLAMA = says("general.architecture", "llama")


def build(
    *pairs: bytes,
    tensors: tuple[bytes, ...] = (tensor(32),),
    data: int = 128,
    version: int = 3,
    alignment: int = 32,
) -> bytes:
    """Return a GGUF of these parts, with `data` bytes of tensor data."""
    counts = struct.pack("<IQQ", version, len(tensors), len(pairs))
    head = b"GGUF" + counts + b"".join(pairs) + b"".join(tensors)
    return head + bytes(-len(head) % alignment) + bytes(data)


@pytest.fixture
def put(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def refusal(path: Path, data: bytes | None = None) -> FileUnreadable:
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(FileUnreadable) as caught:
        read_header(path)
    assert caught.value.hint
    return caught.value


def test_a_real_file_tells_what_it_is(put: Path) -> None:
    write_tiny_gguf(put)

    header = read_header(put)

    assert (header.version, header.architecture, header.name) == (3, "llama", "tiny")
    assert (header.quantization, header.context_length, header.block_count) == ("F32", 256, 2)
    assert header.has_chat_template
    assert header.size_bytes == put.stat().st_size
    assert header.parameters * 4 < header.size_bytes
    assert header.metadata["lmboot.primer_sha256"] == "ab" * 32
    assert header.metadata["tokenizer.ggml.add_bos_token"] is True
    assert "tokenizer.ggml.tokens" not in header.metadata


@pytest.mark.skipif(not SEED.exists(), reason="the seed model has not been trained")
def test_the_seed_model_passes() -> None:
    header = read_header(SEED)

    assert header.quantization == "Q8_0"
    assert header.has_chat_template


@pytest.mark.parametrize(
    ("pairs", "tensors", "quantization"),
    [
        ((number("general.file_type", 15),), (tensor(32),), "Q4_K_M"),
        ((number("general.file_type", 1024 + 7),), (tensor(32),), "Q8_0"),
        ((number("general.file_type", 999),), (tensor(32),), "F32"),
        ((), (tensor(32, 3, kind=8), tensor(16, offset=128)), "Q8_0"),
        ((), (tensor(32, kind=200),), None),
    ],
)
def test_quantization_is_the_files_word_else_what_most_weights_have(
    put: Path, pairs: tuple[bytes, ...], tensors: tuple[bytes, ...], quantization: str | None
) -> None:
    put.write_bytes(build(LLAMA, *pairs, tensors=tensors, data=4096))

    assert read_header(put).quantization == quantization


def test_values_of_an_unexpected_type_count_as_absent(put: Path) -> None:
    put.write_bytes(
        build(
            LLAMA,
            number("general.name", 5),
            says("llama.context_length", "many"),
            pair("llama.block_count", BOOL, b"\x01"),
        )
    )

    header = read_header(put)

    assert (header.name, header.context_length, header.block_count) == (None, None, None)


def test_a_name_can_not_write_to_the_terminal(put: Path) -> None:
    put.write_bytes(
        build(says("general.architecture", "x\x1b[2J"), says("general.name", "a\r\u202eb"))
    )

    header = read_header(put)

    assert header.architecture == "x"
    assert header.name == "a b"


def test_version_2_is_read_and_so_is_another_alignment(put: Path) -> None:
    put.write_bytes(build(LLAMA, number("general.alignment", 64), version=2, alignment=64))

    assert read_header(put).version == 2


def test_a_file_cut_anywhere_is_refused_and_the_missing_bytes_are_counted(put: Path) -> None:
    whole = build(
        LLAMA,
        pair("t", ARRAY, struct.pack("<IQ", STRING, 2) + text("ab") + text("")),
        pair("n", ARRAY, struct.pack("<IQ", FLOAT, 3) + bytes(12)),
        tensors=(tensor(32), tensor(2, 16, offset=128)),
        data=256,
    )
    put.write_bytes(whole)
    assert read_header(put).parameters == 64

    for length in range(len(whole)):
        message = str(refusal(put, whole[:length]))
        expected = "empty" if length == 0 else "truncated"
        assert expected in message, length

    assert "ends 7 bytes early" in str(refusal(put, whole[:-7]))


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is empty"),
        (b"hello, world, this is no model", "is not a GGUF file"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Git LFS pointer"),
        (b"\n <!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"PK\x03\x04" + bytes(60), "zip archive"),
        (b"\x1f\x8b\x08" + bytes(60), "compressed archive"),
        (struct.pack("<Q", 20) + b'{"__metadata__":{}}  ', "safetensors"),
        (b"lmgg" + bytes(60), "before GGUF"),
        (b"tjgg\x03\0\0\0" + bytes(60), "before GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1 "),
        (b"GGUF" + struct.pack("<IQQ", 0, 0, 0), "version 0 "),
        (b"GGUF" + struct.pack("<IQQ", 4, 0, 0), "version 4 "),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    ],
)
def test_what_is_no_gguf_gets_its_own_sentence(put: Path, data: bytes, sentence: str) -> None:
    assert sentence in str(refusal(put, data))


@pytest.mark.parametrize(
    ("pairs", "sentence"),
    [
        ((LLAMA, says("general.type", "adapter")), "adapter (LoRA)"),
        ((says("general.architecture", "clip"),), "see or hear"),
        ((LLAMA, says("general.type", "mmproj")), "see or hear"),
        ((LLAMA, says("general.type", "imatrix")), "measurements"),
        ((says("general.architecture", "nomic-bert"),), "embedding model"),
        ((), "does not say which architecture"),
        ((number("general.architecture", 4),), "does not say which architecture"),
        ((number("split.no", 1),), "does not say which architecture"),
    ],
)
def test_a_gguf_that_is_no_language_model_gets_its_own_sentence(
    put: Path, pairs: tuple[bytes, ...], sentence: str
) -> None:
    assert sentence in str(refusal(put, build(*pairs)))


def test_a_vocabulary_without_a_model_is_refused(put: Path) -> None:
    write_tiny_gguf(put, tensors=False)

    assert "holds a vocabulary but no model" in str(refusal(put))


HUGE = 2**64 - 1


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"GGUF" + struct.pack("<IQQ", 3, HUGE, 0), "longer than any"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, HUGE), "longer than any"),
        (build(struct.pack("<Q", HUGE)), "keys are longer"),
        (build(struct.pack("<Q", 60_000) + b"k"), "truncated"),
        (build(pair("k", STRING, struct.pack("<Q", HUGE))), "truncated"),
        (build(pair("k", ARRAY, struct.pack("<IQ", STRING, HUGE))), "truncated"),
        (build(pair("k", ARRAY, struct.pack("<IQQ", STRING, 1, HUGE))), "truncated"),
        (build(pair("k", ARRAY, struct.pack("<IQ", U64, HUGE))), "truncated"),
        (build(pair("k", ARRAY, struct.pack("<IQ", ARRAY, 1))), "unusual type 9"),
        (build(pair("k", 13, b"")), "unknown type 13"),
        (build(LLAMA, LLAMA), "twice"),
        (build(pair(b"\xff\xfe", U32, bytes(4))), "not text"),
        (build(LLAMA, number("general.alignment", 24)), "power of two"),
        (build(LLAMA, number("general.alignment", 0)), "power of two"),
        (build(LLAMA, says("general.alignment", "32")), "power of two"),
        (build(LLAMA, tensors=(tensor(*[1] * 5),)), "dimensions"),
        (build(LLAMA, tensors=(tensor(HUGE, HUGE, HUGE, HUGE),)), "larger than any disk"),
        (build(LLAMA, tensors=(tensor(33, kind=8),)), "rows"),
        (build(LLAMA, tensors=(tensor(32, offset=1),)), "out of place"),
        (build(LLAMA, tensors=(tensor(32, offset=1 << 63),)), "truncated"),
        (build(LLAMA, tensors=(text("w") + struct.pack("<I", 1),), data=0), "truncated"),
    ],
)
def test_hostile_numbers_are_refused_in_a_sentence(put: Path, data: bytes, sentence: str) -> None:
    assert sentence in str(refusal(put, data))


def test_a_header_that_never_ends_is_given_up(put: Path) -> None:
    endless = struct.pack("<IQQ", STRING, 1000, 1 << 30)
    put.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + text("k") + struct.pack("<I", ARRAY))
    with put.open("ab") as file:
        file.write(endless)
        file.truncate(1 << 40)  # sparse: it takes no room

    assert "larger than any" in str(refusal(put))


def test_long_texts_are_passed_over_and_memory_stays_small(put: Path) -> None:
    pairs = [says(f"k{each}", "x" * 1_000_000) for each in range(40)]
    put.write_bytes(build(LLAMA, says("tokenizer.chat_template", "{{ x }}"), *pairs))

    tracemalloc.start()
    try:
        header = read_header(put)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert header.has_chat_template
    assert len(header.metadata) < 6
    assert peak < 12 << 20


def test_a_large_vocabulary_is_walked_and_not_kept(put: Path) -> None:
    words = b"".join(text(b"w" * (each % 40)) for each in range(150_000))
    vocabulary = pair("tokenizer.ggml.tokens", ARRAY, struct.pack("<IQ", STRING, 150_000) + words)
    put.write_bytes(build(LLAMA, vocabulary, says("general.name", "behind it")))

    assert read_header(put).name == "behind it"


# --- what is no file ---------------------------------------------------------------------------


def test_a_folder_a_missing_file_and_an_impossible_name_get_their_sentences(
    tmp_path: Path,
) -> None:
    assert "is a folder" in str(refusal(tmp_path))
    assert "does not exist" in str(refusal(tmp_path / "none.gguf"))
    assert "can't be read" in str(refusal(Path("a\0b.gguf")))
    assert "can't be read" in str(refusal(tmp_path / ("x" * 5000)))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with a name here")
def test_pipes_devices_and_sockets_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "pipe or socket" in str(refusal(tmp_path / "pipe"))
    assert "pipe or socket" in str(refusal(Path("/dev/zero")))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        assert "can't be read" in str(refusal(tmp_path / "s"))


def test_an_unreadable_file_gets_its_sentence(put: Path) -> None:
    put.write_bytes(build(LLAMA))
    put.chmod(0)
    told, telling = os.pipe()

    if (child := os.fork()) == 0:  # root may read everything, so somebody else has to try
        if os.geteuid() == 0:
            for folder in put.parents[:-2]:
                folder.chmod(0o755)
            os.setuid(65534)
        os.write(telling, str(refusal(put)).encode())
        os._exit(0)
    os.close(telling)
    os.waitpid(child, 0)

    with os.fdopen(told, "rb") as answer:
        assert b"may not be read" in answer.read()


def test_no_descriptor_stays_open(put: Path, tmp_path: Path) -> None:
    put.write_bytes(build(LLAMA))
    refusal(tmp_path)
    before = os.dup(0)
    os.close(before)

    read_header(put)
    refusal(tmp_path)

    after = os.dup(0)
    os.close(after)
    assert after == before


# --- split models ------------------------------------------------------------------------------


def split(folder: Path, *numbers: int, count: int = 3) -> list[Path]:
    paths = []
    for each in numbers:
        paths.append(folder / f"big-{each:05}-of-{count:05}.gguf")
        described = (LLAMA,) if each == 1 else ()
        marks = (number("split.no", each - 1), number("split.count", count))
        paths[-1].write_bytes(build(*described, *marks))
    return paths


def test_a_split_model_is_read_through_its_first_part(tmp_path: Path) -> None:
    paths = split(tmp_path, 1, 2, 3)

    header = read_header(paths[0])

    assert header.parts == 3
    assert header.parameters == 96
    assert header.size_bytes == sum(path.stat().st_size for path in paths)


def test_a_split_model_that_is_incomplete_or_renamed_is_refused(tmp_path: Path) -> None:
    first, third = split(tmp_path, 1, 3)
    assert "big-00002-of-00003.gguf is missing" in str(refusal(first))
    assert "is part 3 of 3" in str(refusal(third))
    assert refusal(third).hint == f"Choose {first}."

    renamed = first.rename(tmp_path / "big.gguf")
    assert "under another name" in str(refusal(renamed))


def test_a_truncated_part_is_named(tmp_path: Path) -> None:
    first, second = split(tmp_path, 1, 2, count=2)
    second.write_bytes(second.read_bytes()[:-1])

    message = str(refusal(first))

    assert second.name in message
    assert "1 bytes early" in message


# --- any bytes ---------------------------------------------------------------------------------

WHOLE = build(
    LLAMA,
    number("llama.context_length", 4096),
    pair("t", ARRAY, struct.pack("<IQ", STRING, 2) + text("ab") + text("c")),
    tensors=(tensor(32, 2, kind=8), tensor(4, offset=96)),
    data=128,
)


def judged(path: Path, data: bytes) -> None:
    """Fail on every other exception than the one that may leave."""
    path.write_bytes(data)
    with contextlib.suppress(FileUnreadable):
        assert isinstance(read_header(path), Header)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=400), opening=st.sampled_from([b"", b"GGUF", WHOLE[:24]]))
@example(data=b"", opening=b"")
def test_any_bytes_are_judged(put: Path, data: bytes, opening: bytes) -> None:
    judged(put, opening + data)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(st.integers(0, len(WHOLE) - 1), st.integers(0, 255)), min_size=1, max_size=6
    )
)
def test_any_change_to_a_whole_file_is_judged(put: Path, changes: list[tuple[int, int]]) -> None:
    data = bytearray(WHOLE)
    for place, value in changes:
        data[place] = value
    judged(put, bytes(data))
