"""A llama of random weights, half a megabyte: it loads and answers (nonsense) like a real one."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np

CONTEXT = 256
WIDTH = 64
LAYERS = 2
HEADS = 2
FFN = 128
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def _vocabulary() -> list[tuple[str, gguf.TokenType]]:
    """Return one token a byte and one a letter: every text has a tokenisation."""
    special = [("<unk>", gguf.TokenType.UNKNOWN), ("<s>", gguf.TokenType.CONTROL)]
    marks = [(mark, gguf.TokenType.CONTROL) for mark in ("<|im_start|>", "<|im_end|>")]
    raw = [(f"<0x{byte:02X}>", gguf.TokenType.BYTE) for byte in range(256)]
    letters = [(letter, gguf.TokenType.NORMAL) for letter in "▁abcdefghijklmnopqrstuvwxyz.,"]
    return special + marks + raw + letters


def _tensors(words: int) -> dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    random = np.random.default_rng(7)
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (words, WIDTH),
        "output.weight": (words, WIDTH),
        "output_norm.weight": (WIDTH,),
    }
    for layer in range(LAYERS):
        shapes |= {f"blk.{layer}.{name}_norm.weight": (WIDTH,) for name in ("attn", "ffn")}
        shapes |= {
            f"blk.{layer}.attn_{name}.weight": (WIDTH, WIDTH) for name in ("q", "k", "v", "output")
        }
        shapes |= {f"blk.{layer}.ffn_{name}.weight": (FFN, WIDTH) for name in ("gate", "up")}
        shapes[f"blk.{layer}.ffn_down.weight"] = (WIDTH, FFN)
    return {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else (random.standard_normal(shape) * 0.1).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_tiny_gguf(
    path: Path, *, architecture: str = "llama", context: int = CONTEXT, tensors: bool = True
) -> Path:
    """Write the file and return its path; an unheard-of architecture makes it unloadable."""
    vocabulary = _vocabulary()
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("tiny")
    writer.add_string("lmboot.primer_sha256", "ab" * 32)
    writer.add_file_type(0)
    writer.add_vocab_size(len(vocabulary))
    writer.add_context_length(context)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([token.encode() for token, _ in vocabulary])
    writer.add_token_scores([-float(number) for number in range(len(vocabulary))])
    writer.add_token_types([int(kind) for _, kind in vocabulary])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(3)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)
    for name, values in _tensors(len(vocabulary)).items() if tensors else ():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
