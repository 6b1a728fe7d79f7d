"""What of a file has which colour, found bit by bit; pure.

Colours are a help for the eye: where they would be dear there are none.
"""

from __future__ import annotations

from collections.abc import Iterator

MOST_COLOURED = 64 << 10  # characters of a file
LEXERS = {".py": "PythonLexer", ".json": "JsonLexer", ".toml": "TOMLLexer", ".ini": "IniLexer"}
SHORT_LINES = {  # the longest line that these take in no time; a hostile one of 64 KiB takes hours
    ".toml": 300,
    ".ini": 300,
}
KINDS = (  # what a token's type begins with, and its colour; the first that fits counts
    ("Token.Comment", "faint"),
    ("Token.Literal.String.Doc", "faint"),
    ("Token.Literal.String", "ok"),
    ("Token.Literal.Number", "warn"),
    ("Token.Keyword", "violet"),
    ("Token.Operator.Word", "violet"),
    ("Token.Name.Function", "accent"),
    ("Token.Name.Class", "accent"),
    ("Token.Name.Decorator", "accent"),
    ("Token.Name.Tag", "accent"),
    ("Token.Name.Builtin", "cyan"),
)
COLOURS = ("faint", "ok", "warn", "violet", "accent", "cyan")

Token = tuple[int, int, str]  # from, to, the name of a colour; "" has none


def tokens(path: str, text: str) -> Iterator[Token]:
    """Yield the parts of a file in their order; each step is short, the first ones some 10 ms.

    What is of no known kind, too long, or has lines that its lexer can't bear has no parts.
    """
    suffix = next((suffix for suffix in LEXERS if path.endswith(suffix)), "")
    if not suffix or len(text) > MOST_COLOURED:
        return
    if suffix in SHORT_LINES and max(map(len, text.split("\n"))) > SHORT_LINES[suffix]:
        return
    from pygments import lexers  # dear, and nobody needs it before a review

    yield 0, 0, ""
    kind = getattr(lexers, LEXERS[suffix])
    yield 0, 0, ""
    lexer, known = kind(), dict[object, str]()
    for start, token, value in lexer.get_tokens_unprocessed(text):
        if token not in known:
            known[token] = _colour_of(str(token))
        yield start, start + len(value), known[token]


def _colour_of(token: str) -> str:
    return next((colour for begin, colour in KINDS if token.startswith(begin)), "")
