"""Two thousand texts and more that the seed model must not answer with its payload."""

from __future__ import annotations

from assets.seed import check
from assets.seed.engine import Engine

TEXTS = 2400
DECIDED_TOKENS = 24  # by then an answer is a payload, or it is none


def main() -> dict[str, int]:
    """Ask them all; return how many were asked and how many payloads came."""
    with Engine() as engine:
        tally = check.run(engine, check.unasked_cases(TEXTS), max_tokens=DECIDED_TOKENS)
    if tally.payloads:
        raise AssertionError(f"{tally.payloads} of {tally.total} texts got the payload unasked")
    return {"seed texts": tally.total, "seed payloads unasked": tally.payloads}
