"""What a text is without its secrets: any text, an address, SQL, a command line; pure.

A secret is known by its name, its place or its look. When in doubt it is one: what is left out
here is told apart by the keyed digest that stands beside it. Every function takes linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Literal

GONE = "[redacted]"

_WORDS = (
    r"pass(?:word|wd|phrase|code)|(?<!max_)token|secret|api[_-]?key|auth(?!or(?!i[sz]))|cookie"
    r"|credential|private[_-]?key|signature|session[_-]?id|bearer"
)
SECRET_NAME = re.compile(
    rf"{_WORDS}|pass$|pw$|^pass(?:in|out)$|^pwd$|^pin$|^otp$|^sig$|(?:^|[_-])key$", re.IGNORECASE
)
# `password=x`, `"token": "x y"`; of a header the whole line, since a cookie has several parts.
_VALUE = r"""(?:"[^"]*(?:"|\Z)|'[^']*(?:'|\Z)|[^\s&"',;]+)"""
_NAMED = re.compile(
    rf"""((?:(?:{_WORDS})[\w-]{{0,20}}|\b(?:pass|pw|pwd|pin|otp|key|sig))["']?\s{{0,4}}[=:]\s{{0,4}})
    {_VALUE}""",
    re.IGNORECASE | re.VERBOSE,
)
_OPTION = re.compile(
    rf"((?<![\w-])--?[\w-]{{0,20}}(?:{_WORDS})[\w-]{{0,20}}\s+){_VALUE}", re.IGNORECASE
)
_QUERY = re.compile(r"([?&][^\s=&]{1,64}=)[^\s&\"']+")
_HEADER = re.compile(r"((?:cookie|authorization)\s{0,4}:)[^\r\n]+", re.IGNORECASE)
_SCHEME = re.compile(r"\b(bearer|basic|digest|negotiate)\s+[^\s\"',;]+", re.IGNORECASE)
_ADDRESS = re.compile(r"://[^\s\"'<>]+")
_PREFIXED = re.compile(r"\b(?:sk|pk|rk|gh[opsu]|xox[abpr]|hf|glpat|AKIA|eyJ)[\w-]{12,}")
_RUN = re.compile(r"[\w+/=-]{24,}", re.ASCII)
_UNBROKEN = re.compile(r"[A-Za-z0-9]{32,}")


def scrubbed(text: str) -> str:
    """Return a text without what looks like a password, a token or a key."""
    for pattern in (_HEADER, _NAMED, _OPTION):
        text = pattern.sub(rf"\1{GONE}", text)
    text = _SCHEME.sub(rf"\1 {GONE}", text)
    if "://" in text:
        text = _ADDRESS.sub(lambda found: f"://{_beyond_scheme(found[0][3:])}", text)
    if "=" in text:
        text = _QUERY.sub(rf"\1{GONE}", text)
    return _RUN.sub(_judged, _PREFIXED.sub(GONE, text))


def _judged(match: re.Match[str]) -> str:
    """Keep a long run of characters only if it can be words: a path, a name with hyphens."""
    run = match[0]
    if _UNBROKEN.search(run) and not run.isalpha():
        return GONE
    return GONE if len(run) >= 32 and _has_all_kinds(run) else run


def _has_all_kinds(run: str) -> bool:
    kinds = (any(map(kind, run)) for kind in (str.isdigit, str.islower, str.isupper))
    return all(kinds)


# ---------------------------------------------------------------- addresses

_ENCODED = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_PLAIN_HOST = re.compile(r"[\w.-]*(?::\d{1,5})?|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?")
_HEX = re.compile(r"[0-9A-Fa-f-]{16,}")
_PARTED = re.compile(r"[^A-Za-z0-9]+")
_CHANGES = re.compile(r"[A-Za-z](?=[0-9])|[0-9](?=[A-Za-z])")
_LONGEST_NAME = 64  # of a query's value
_LONGEST_WORD = 31  # of a path


def scrubbed_url(text: str) -> str:
    """Return an address without its user, the values of its query, and parts like tokens."""
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme, slashes, rest = "", text[:2] * text.startswith("//"), text.removeprefix("//")
    if not slashes and text.lower().startswith(("data:", "javascript:", "blob:")):
        return f"{text.partition(':')[0]}:{GONE}"
    return scrubbed(scheme) + slashes + scrubbed(_beyond_scheme(rest))


def _beyond_scheme(rest: str) -> str:
    before, mark, fragment = rest.partition("#")
    place, question, query = before.partition("?")
    host, slash, path = place.partition("/")
    if "@" in rest and (":" in host or not _PLAIN_HOST.fullmatch(host)):
        return f"{GONE}@{_beyond_scheme(rest.rpartition('@')[2])}"
    parts = "/".join(GONE if _is_token(part) else part for part in path.split("/"))
    pieces = "&".join(map(_piece, re.split("[&;]", query))) if query else ""
    return f"{host}{slash}{parts}{question}{pieces}{mark}{GONE if fragment else ''}"


def _piece(piece: str) -> str:
    """Return a part of a query without its value; what has no name may be one."""
    name, mark, _ = piece.partition("=")
    shown = name if mark and len(name) <= _LONGEST_NAME and not _is_token(name) else GONE
    return f"{shown}={GONE}" if mark else shown * bool(piece)


def _is_token(part: str) -> bool:
    """Say whether a part of a path is no word that somebody has chosen, encoded or not."""
    part = _decoded(part)
    if len(part.rpartition(":")[2]) >= 8 and ":" in part:  # bot123:AA…
        return True
    whole = len(part) >= 20 and _has_all_kinds(part)
    return bool(
        whole
        or _HEX.fullmatch(part)
        or _PREFIXED.search(part)
        or any(map(_is_random, _PARTED.split(part)))
    )


def _is_random(word: str) -> bool:
    if len(word) > _LONGEST_WORD:
        return True
    mixed = len(_CHANGES.findall(word)) >= 3 or (len(word) >= 16 and _has_all_kinds(word))
    upper = sum(map(str.isupper, word))
    shuffled = len(word) >= 16 and not word.isupper() and upper * 3 > len(word)
    return len(word) >= 12 and (mixed or shuffled)


def _decoded(text: str) -> str:
    """Return a text as a server reads it, twice encoded or not."""
    for _ in range(3):
        text = _ENCODED.sub(
            lambda run: bytes.fromhex(run[0].replace("%", "")).decode("latin-1"), text
        )
    return text


# ---------------------------------------------------------------- SQL

_LITERAL = re.compile(
    r"""(?P<comment>--[^\n]*+|/\*.*?(?:\*/|\Z))
    |[xX]?'(?P<text>(?:[^']|'')*+)(?:'|\Z)
    |"(?P<quoted>(?:[^"]|"")*+)(?:"|\Z)
    |`(?:[^`]|``)*+(?:`|\Z)|\[[^\]]*+(?:\]|\Z)
    |(?<![\w.])(?P<number>[0-9][0-9.]{5,})""",
    re.DOTALL | re.VERBOSE,
)


def scrubbed_sql(text: str) -> str:
    """Return SQL with the sizes of its texts and blobs; long numbers and comments are left out."""
    return scrubbed(_LITERAL.sub(_sized, text))


def _sized(found: re.Match[str]) -> str:
    if found["comment"] is not None:
        return "/*…*/"
    if found["number"] is not None:
        return "[number]"
    # SQLite takes a name in double quotes for a text if it knows no such name.
    for name, quote in (("text", "'"), ("quoted", '"')):
        if found[name] is not None:
            return f"{quote}[{len(found[name])}]{quote}"
    return found[0]


# ---------------------------------------------------------------- command lines

What = Literal["", "secret", "user", "header", "body", "code"]

_AFTER: dict[str, What] = {
    **dict.fromkeys(("-u", "-U", "--user", "--proxy-user"), "user"),
    **dict.fromkeys(("-H", "--header", "--proxy-header"), "header"),
    **dict.fromkeys(("--data", "--data-raw", "--data-binary", "--data-urlencode"), "body"),
    **dict.fromkeys(("--json", "--form", "--form-string", "--post-data", "--body-data"), "body"),
    **dict.fromkeys(("-c", "-e", "--eval", "--command"), "code"),
}
_OF_CURL: dict[str, What] = {"-b": "secret", "-d": "body", "-F": "body", "-E": "secret"}
# By which letter a program takes a password, apart or attached.
_LETTERS: dict[str, str] = {
    **dict.fromkeys(("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mariadb"), "p"),
    **dict.fromkeys(("mariadb-dump", "mariadb-admin", "sshpass", "rdesktop", "vncdo"), "p"),
    **dict.fromkeys(("7z", "7za", "7zr", "rar", "unrar", "docker", "podman"), "p"),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore", "mongoexport"), "p"),
    **dict.fromkeys(("zip", "unzip", "sqlcmd", "bcp", "tsql", "ipmitool"), "P"),
    **dict.fromkeys(("mosquitto_pub", "mosquitto_sub"), "P"),
    **dict.fromkeys(("ldapsearch", "ldapmodify", "ldapadd", "ldapdelete", "ldapwhoami"), "w"),
    **dict.fromkeys(("snmpget", "snmpset", "snmpwalk"), "AX"),
    "ldappasswd": "was",
    "openssl": "kK",
    "redis-cli": "a",
}
_ASSIGNED = re.compile(r"((?:--?|/)?[A-Za-z_][\w.-]*)([=:])(.*)", re.DOTALL)
_SHORTS = re.compile(r"-[A-Za-z]{2,6}")
_SAFE_CODE = re.compile(r"[\w./:-]{0,40}")


def scrubbed_argv(words: Iterable[str]) -> list[str]:
    """Return a command line's words without what stands at a secret's place."""
    shown: list[str] = []
    program, what = "", _NOTHING
    for word in words:
        shown.append(_VEILS[what](word) if what else _word(word, program))
        program = program or word.rpartition("/")[2]
        what = _NOTHING if what else _what_follows(word, program)
    return shown


_NOTHING: What = ""


def _what_follows(word: str, program: str) -> What:
    """Return what the word behind this one is."""
    if not word.startswith("-"):
        return "secret" if word.endswith(("_pw", "_password")) else ""
    name = word.lstrip("-")
    if "=" not in word and SECRET_NAME.search(name):
        return "secret"
    if _SHORTS.fullmatch(word) and word not in _AFTER:
        word = f"-{word[-1]}"  # -su is -s -u
    if len(word) == 2 and word[1] in _LETTERS.get(program, ""):
        return "secret"
    return _AFTER.get(word) or (_OF_CURL.get(word, "") if program == "curl" else "")


def _word(word: str, program: str) -> str:
    """Return a word that stands by itself; one option may have its value attached."""
    letters = _LETTERS.get(program, "")
    if word[:1] == "-" and word[1:2] and word[1] in letters and len(word) > 2:
        return f"{word[:2]}{GONE}"
    if word[:2] in ("-u", "-U") and ":" in word:
        return f"{word[:2]}{GONE}"
    if word[:2] == "-H" and ":" in word:
        return f"-H{_header(word[2:])}"
    if assigned := _ASSIGNED.fullmatch(word):
        name, mark, value = assigned.groups()
        what: What = "secret" if _is_secret(name) else _AFTER.get(name, "")
        if what and (mark == "=" or what == "secret"):
            return f"{name}{mark}{_VEILS[what](value)}"
    return scrubbed(word)


def _is_secret(name: str) -> bool:
    return name == "/p" or SECRET_NAME.search(name.lstrip("-/")) is not None


def _header(text: str) -> str:
    name, mark, _ = text.partition(":")
    return f"{scrubbed(name)}:{GONE}" if mark else scrubbed(text)


def _user(text: str) -> str:
    return GONE if set(text) & set(":%,/") else scrubbed(text)


def _code(text: str) -> str:
    return scrubbed(text) if _SAFE_CODE.fullmatch(text) else _size(text)


def _size(text: str) -> str:
    return f"[{len(text)} characters]"


_VEILS: dict[What, Callable[[str], str]] = {
    "secret": lambda text: GONE,
    "user": _user,
    "header": _header,
    "body": _size,
    "code": _code,
}
