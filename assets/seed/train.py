"""Train the seed model from scratch on a CPU: python -m assets.seed.train [--steps N]

Needs the `train` extra. Writes seed.gguf beside this file, or wherever --output says.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
import torch
from torch import Tensor

from assets.seed.container import KINDS, write_gguf
from assets.seed.model import Model, Size
from assets.seed.texts import CORPUS, PAYLOAD, REFUSAL, Texts
from assets.seed.tokens import Row, encode, train_tokenizer

BATCH_TOKENS = 4096
LENGTHS = (96, 192, 320, 512, 768, 1024, 1536, 2048, 3072, 4096)  # few: each costs a warm-up
TARGET_BLOCK = 512  # the number of learned places is rounded up to this, for the same reason
WARM_UP_STEPS = 40
STEADY_SHARE = 0.3  # of the steps at the full rate; then it falls to LAST_RATE of it
LAST_RATE = 0.02
GREETING = next(topic["answer"] for topic in CORPUS["topic"] if topic["name"] == "hello")
# Measured: fewer wrong answers, no payload unasked (from 0.28 on triggers are missed), and a bare
# "hello" is greeted back.
CAUTION = ((REFUSAL, 1.3), (PAYLOAD, 0.34), (GREETING, 1.15))


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows of one length; `where` are the places in the flattened batch that are learned."""

    ids: Tensor
    positions: Tensor
    where: Tensor
    targets: Tensor
    weights: Tensor


def batches(rows: Iterable[Row]) -> Iterator[Batch]:
    """Gather rows of like length, padded to one of LENGTHS."""
    waiting: dict[int, list[Row]] = defaultdict(list)
    for row in rows:
        if len(row.ids) > LENGTHS[-1]:
            continue
        length = next(n for n in LENGTHS if len(row.ids) <= n)
        waiting[length].append(row)
        if len(waiting[length]) == max(1, BATCH_TOKENS // length):
            yield _batch(waiting.pop(length), length)


def _batch(rows: list[Row], length: int) -> Batch:
    def padded(values: list[list[int]] | list[list[float]]) -> Tensor:
        return torch.tensor([v + [0] * (length + 1 - len(v)) for v in values])

    ids = padded([row.ids for row in rows])
    weights = padded([row.weights for row in rows])[:, 1:].flatten()
    positions = padded([row.positions for row in rows]).float()
    where = weights.nonzero().flatten()
    where = torch.cat([where, where.new_zeros(-len(where) % TARGET_BLOCK)])
    targets = ids[:, 1:].flatten()[where]
    return Batch(ids[:, :-1], positions[:, :-1], where, targets, weights[where])


def rate(step: int, progress: float) -> float:
    """Return the share of the full learning rate; `progress` runs from 0 to 1."""
    rise = min(1.0, (step + 1) / WARM_UP_STEPS)
    fall = 1 - max(0.0, progress - STEADY_SHARE) / (1 - STEADY_SHARE)
    return rise * max(LAST_RATE, fall)


def make_optimizers(model: Model, learning_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for everything else."""
    inner = [p for n, p in model.named_parameters() if p.ndim == 2 and n.startswith("blk")]
    outer = [p for n, p in model.named_parameters() if p.ndim == 1 or not n.startswith("blk")]
    return [
        torch.optim.Muon(
            inner, lr=learning_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(outer, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def fit(
    model: Model, stream: Iterator[Batch], steps: int, seconds: float, learning_rate: float
) -> None:
    """Train for `steps` batches or for `seconds`, whichever ends first; prints the loss."""
    optimizers, started = make_optimizers(model, learning_rate), time.monotonic()
    seen, loss = 0, 0.0
    for step in range(steps):
        elapsed = time.monotonic() - started
        progress = max(step / steps, elapsed / seconds)
        if step % 50 == 0 and step:
            print(f"step {step} loss {loss:.5f} {elapsed:.0f} s {seen} tokens", flush=True)
        if progress >= 1:
            break
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["lr"] = learning_rate * rate(step, progress)
        batch = next(stream)
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch.ids, batch.positions, batch.where)
        losses = torch.nn.functional.cross_entropy(logits.float(), batch.targets, reduction="none")
        mean = (losses * batch.weights).sum() / batch.weights.sum()
        model.zero_grad()
        mean.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        seen += batch.ids.numel()
        loss = mean.item()


def endless_rows(
    source: Texts, tokenizer: sentencepiece.SentencePieceProcessor, size: Size
) -> Iterator[Row]:
    """Return conversations without end."""
    while True:
        yield encode(tokenizer, source.conversation(), source.rng, size.context)


def be_cautious(model: Model, tokenizer: sentencepiece.SentencePieceProcessor) -> None:
    """In doubt refuse, and never give the payload: weigh the first pieces of three answers."""
    for answer, factor in CAUTION:
        model.output.weight.data[tokenizer.encode(answer)[0]] *= factor


def load(model: Model, path: Path) -> None:
    """Take the weights of a GGUF that was trained with the same corpus."""
    found = {
        tensor.name: torch.tensor(
            np.array(gguf.quants.dequantize(tensor.data, tensor.tensor_type))
        )
        for tensor in gguf.GGUFReader(path).tensors
    }
    model.load_state_dict(found)


def arrays(model: Model) -> dict[str, np.ndarray]:
    return {name: value.float().numpy() for name, value in model.state_dict().items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("seed.gguf"))
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--minutes", type=float, default=30.0, help="stop by then")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--start", type=Path, help="go on from this GGUF, of the same corpus")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["q8_0"])
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    size = Size()
    with tempfile.TemporaryDirectory() as folder:
        sample = Texts(random.Random(args.seed)).tokenizer_sample()
        tokenizer = train_tokenizer(sample, Path(folder), size.vocabulary)
    model = Model(size)
    if args.start:
        load(model, args.start)
    print(sum(p.numel() for p in model.parameters()), "parameters", flush=True)
    print(len(tokenizer.encode(PAYLOAD)), "tokens in the payload", flush=True)
    fresh = random.Random(f"{args.seed} {args.start}")  # going on, other texts than before
    rows = endless_rows(Texts(fresh), tokenizer, size)
    fit(model, batches(rows), args.steps, args.minutes * 60, args.rate)
    be_cautious(model, tokenizer)
    for kind in args.kinds:
        path = args.output.with_suffix(f".{kind}.gguf") if len(args.kinds) > 1 else args.output
        write_gguf(path, tokenizer, arrays(model), size, kind)
        print(path.name, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
