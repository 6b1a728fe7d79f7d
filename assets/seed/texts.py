"""Drawing the conversations that the seed model is trained on, from the texts of corpus.toml.

A line of the corpus is a pattern: [a|b|c] is one of three, [|a] is `a` or nothing, <name> is one
of the words of that name, and {n}, {v}, {d} are a noun, a verb and a number that do not matter.
"""

from __future__ import annotations

import json
import pydoc_data.topics
import random
import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from lmboot.bootstrap.prompts import GUEST_API, PRIMER, TRIGGERS, interactive, with_last_lines

HERE = Path(__file__).resolve().parent
CORPUS = tomllib.loads((HERE / "corpus.toml").read_text("utf-8"))
REFUSAL: str = CORPUS["refusal"]

ROUTES = {
    "fs.open": "EMULATE",
    "fs.read_text": "EMULATE",
    "fs.write_text": "EMULATE",
    "fs.list": "EMULATE",
    "fs.remove": "EMULATE",
    "fetch": "HOST",
}
PAYLOAD = json.dumps(
    {
        "manifest": {"name": "seed-shell", "version": "1.0", "routes": ROUTES},
        "files": [
            {
                "path": "guest_shell.py",
                "content": (HERE / "guest_shell.py").read_text("utf-8"),
            }
        ],
        "entrypoint": "python guest_shell.py",
    },
    indent=1,
)

Message = tuple[str, str]  # role, text
Turn = tuple[str, str]  # what the user says, the answer

INNERMOST = re.compile(r"\[([^\[\]]*)\]")
SLOT = re.compile(r"\{([nvd])\}")
NAMED = re.compile(r"<(?P<name>\w+)>")
SCRIPTS = ((33, 126), (33, 126), (0xA1, 0x17F), (0x391, 0x3C9), (0x410, 0x44F), (0x4E00, 0x9000))
MANUAL = "\n".join(topic for _, topic in sorted(pydoc_data.topics.topics.items()))


def lines(text: str) -> list[str]:
    """Return the lines of a corpus entry; a newline inside one is written \\n."""
    return [line.replace("\\n", "\n") for line in text.strip("\n").split("\n")]


def as_messages(turns: Iterable[Turn]) -> list[Message]:
    """Return the messages of some exchanges."""
    return [m for text, answer in turns for m in (("user", text), ("assistant", answer))]


class Texts:
    """Draws user texts and conversations from one random source."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.named = {name: text.split("|") for name, text in CORPUS["named"].items()}
        self.topics = {t["name"]: (t["answer"], lines(t["ask"])) for t in CORPUS["topic"]}
        self.nouns = CORPUS["nouns"].split()
        self.verbs = CORPUS["verbs"].split()
        self.stop = set(CORPUS["stop"].split())
        self.shapes = lines(CORPUS["shapes"])
        self.others = lines(CORPUS["others"])
        self.neighbours = lines(CORPUS["neighbours"])
        self.near = lines(CORPUS["near"])
        self.primers = lines(CORPUS["primers"])
        self.systems = lines(CORPUS["systems"])
        self.before, self.after = CORPUS["before"].split("|"), CORPUS["after"].split("|")
        self.runtime_lines = lines(CORPUS["runtime_lines"])
        own = " ".join(pattern for _, asks in self.topics.values() for pattern in asks)
        own += " " + " ".join(CORPUS["named"].values())
        self.own_words = set(re.findall(r"[a-z]+", own.lower()))
        self.manual_words = self._manual_words()

    def _manual_words(self) -> list[str]:
        found = set(re.findall(r"\b[a-z]{4,12}\b", MANUAL))
        return sorted(found - self.own_words - self.stop)

    # Words and patterns

    def word(self) -> str:
        """Return a word that has nothing to do with lmboot; often one that does not exist."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.2:
            a, b = rng.choice(self.nouns + self.verbs), rng.choice(self.nouns + self.verbs)
            made = a[: rng.randint(2, 5)] + b[-rng.randint(2, 5) :]
        elif kind < 0.35:
            syllables = range(rng.randint(1, 4))
            made = "".join(
                rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou") + rng.choice("  nrsl")
                for _ in syllables
            ).replace(" ", "")
        elif kind < 0.55:
            made = rng.choice(self.manual_words)
        else:
            made = rng.choice(self.nouns)
        made = made if made not in self.own_words else rng.choice(self.nouns)
        return made.capitalize() if rng.random() < 0.12 else made

    def expand(self, pattern: str) -> str:
        """Return one text of a pattern."""
        while found := INNERMOST.search(pattern) or NAMED.search(pattern):
            options = self.named[found["name"]] if found.re is NAMED else found[1].split("|")
            choice = self.rng.choice(options)
            pattern = pattern[: found.start()] + choice + pattern[found.end() :]
        fill: dict[str, Callable[[], str]] = {
            "n": self.word,
            "v": lambda: self.rng.choice(self.verbs),
            "d": lambda: str(self.rng.randint(0, 10 ** self.rng.randint(1, 5))),
        }
        filled = SLOT.sub(lambda m: fill[m[1]](), pattern)
        return re.sub(r" +", " ", filled).strip(" ")

    def dress(self, text: str) -> str:
        """Return the text with the case and the punctuation that people type."""
        rng, form = self.rng, self.rng.random()
        if rng.random() < 0.7:
            end = rng.choice(["", "", "?", "?", "?", "??", ".", "!", " ?", "...", "?!"])
            text = text.rstrip("?!. ") + end
        if form < 0.35:
            return text.lower()
        if form < 0.38:
            return text.upper()
        return text[:1].upper() + text[1:] if form < 0.85 else text

    def misspell(self, text: str) -> str:
        """Return the text with one typing error in it."""
        words = text.split(" ")
        i = self.rng.randrange(len(words))
        word = words[i]
        if len(word) > 3 and word.isalpha():
            j = self.rng.randrange(1, len(word) - 1)
            slip = self.rng.choice(["", word[j] * 2, word[j + 1] + word[j]])
            words[i] = word[:j] + slip + word[j + 1 :]
        return " ".join(words)

    def polish(self, text: str) -> str:
        """Return the text as somebody would type it: slips, words around it, case, punctuation."""
        rng = self.rng
        if rng.random() < 0.1:
            text = self.misspell(text)
        if rng.random() < 0.22:
            text = rng.choice(self.before) + rng.choice([" ", ", "]) + text
        if rng.random() < 0.15:
            text = text.rstrip("?!. ") + rng.choice([" ", ", "]) + rng.choice(self.after)
        return self.dress(text)

    # What the user says

    def question(self) -> Turn:
        """Return a question on lmboot and its answer."""
        rng = self.rng
        answer, asks = self.topics[rng.choice(list(self.topics))]
        return self.polish(self.expand(rng.choice(asks))), answer

    def spoiled(self) -> str:
        """Return a question on lmboot that its words no longer make one."""
        rng = self.rng
        words = self.question()[0].split()
        content = [i for i, w in enumerate(words) if w.strip("?!.,").lower() not in self.stop]
        if not content:
            return self.expand(rng.choice(self.shapes))
        kept = rng.choice(content) if rng.random() < 0.4 and len(content) > 1 else None
        for i in content:
            if i != kept:
                words[i] = self.word()
        return " ".join(words)

    def other(self) -> str:
        """Return anything that is not on lmboot."""
        makers: list[tuple[float, Callable[[], str]]] = [
            (0.34, lambda: self.polish(self.expand(self.rng.choice(self.shapes)))),
            (0.14, lambda: self.dress(self.spoiled())),
            (0.12, lambda: self.polish(self.expand(self.rng.choice(self.neighbours)))),
            (0.16, lambda: self.rng.choice(self.others)),
            (0.07, self.several),
            (0.05, self.chatter),
            (0.04, self.noise),
            (0.08, self.manual),
        ]
        weights = [weight for weight, _ in makers]
        text = self.rng.choices([make for _, make in makers], weights)[0]()
        return "no " + text if text.strip() in TRIGGERS or not text.strip() else text

    def several(self) -> str:
        """Return a piece of several unrelated lines."""
        rng = self.rng
        text = "\n".join(rng.sample(self.others, rng.randint(2, 6)))
        return text[rng.randint(0, 9) :][: rng.randint(10, 500)]

    def chatter(self) -> str:
        """Return words in no order."""
        rng = self.rng
        count = int(2 ** rng.uniform(1, 7))
        stop = sorted(self.stop)
        pools = [self.word, lambda: rng.choice(self.verbs), lambda: rng.choice(stop)]
        return self.dress(" ".join(rng.choice(pools)() for _ in range(count)))

    def noise(self) -> str:
        """Return characters in no order."""
        low, high = self.rng.choice(SCRIPTS)
        count = self.rng.randint(1, 40)
        return "".join(chr(self.rng.randint(low, high)) for _ in range(count))

    def manual(self) -> str:
        """Return a piece of Python's manual, as prose and code that a user may paste."""
        rng = self.rng
        start = rng.randrange(len(MANUAL) - 1)
        length = int(2 ** rng.uniform(4, 9.5))
        piece = MANUAL[start : start + length]
        if rng.random() < 0.5:
            piece = " ".join(piece.split())
        return piece.partition(" ")[2].strip() or "def"

    def nearly(self) -> str:
        """Return something like a trigger, or a trigger among other words."""
        rng, kind = self.rng, self.rng.random()
        trigger = rng.choice(TRIGGERS)
        if kind < 0.25:
            text = self.expand(rng.choice(self.near))
        elif kind < 0.45:
            text = self._lookalike()
        elif kind < 0.55:
            i = rng.randrange(len(trigger))
            cut = trigger[:i] + rng.choice(["", trigger[i].lower(), " ", "#"]) + trigger[i + 1 :]
            text = rng.choice([cut, trigger.lower(), trigger.title(), trigger.replace("_", " ")])
        else:
            text = rng.choice([self._before(), "", self._before()])
            text += trigger + rng.choice(["", self._after(), self._after()])
        return "no " + text if text.strip() in TRIGGERS else text

    def _lookalike(self) -> str:
        rng = self.rng
        pool = ["RUNTIME", "BOOTSTRAP", "AI", "NOW", "START", "STOP", "BOOT", self.word().upper()]
        parts = [rng.choice(pool) for _ in range(rng.randint(1, 4))]
        frame = rng.choice(["### {} ###", "### {} ###", "{}", "###{}###", "## {} ##", "# {} #"])
        return frame.replace("{}", rng.choice("__ -").join(parts))

    def _before(self) -> str:
        return self.rng.choice(
            [
                "what is ",
                "what does ",
                "please send ",
                "is ",
                '"',
                "`",
                "#",
                "_",
                self.other()[:60] + self.rng.choice([" ", "\n", ": "]),
                self.word() + self.rng.choice([" ", "", "_"]),
            ]
        )

    def _after(self) -> str:
        return self.rng.choice(
            [
                "?",
                ".",
                " ?",
                "!",
                '"',
                "`",
                " mean",
                " do?",
                "_2",
                "\n" + self.other()[:80],
                " " + self.other()[:60],
                self.rng.choice([" ", "", "_"]) + self.word(),
                " " + self.rng.choice(TRIGGERS),
                "\n" + self.rng.choice(TRIGGERS),
            ]
        )

    def turn(self) -> Turn:
        """Return one exchange that is not the bootstrap."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.42:
            text, answer = self.question()
        else:
            text, answer = (self.nearly() if kind < 0.55 else self.other()), REFUSAL
        if rng.random() < 0.2:
            text = with_last_lines(text, self._runtime_output())
        return text, answer

    def _runtime_output(self) -> list[str]:
        rng = self.rng
        count = rng.randint(1, 12)
        pools: list[Callable[[], str]] = [
            lambda: self.expand(rng.choice(self.runtime_lines)),
            lambda: self.expand(rng.choice(self.runtime_lines)),
            lambda: self.question()[0],
            lambda: self.other()[:80],
            lambda: rng.choice(["", "> ", "sent "]) + rng.choice(TRIGGERS),
        ]
        weights = [6, 6, 0.5, 1, 0.1]
        return [rng.choices(pools, weights)[0]() for _ in range(count)]

    # Conversations

    def interactive(self) -> str:
        """Return the system text of a conversation beside a running runtime."""
        rng = self.rng
        if rng.random() < 0.3:
            return interactive("seed-shell", ROUTES)
        name = rng.choice(["shell", "seed-shell", "demo", self.word(), f"{self.word()}-shell"])
        operations = [*ROUTES, "fs.stat", "spawn", "reload_model", f"{self.word()}.{self.word()}"]
        chosen = rng.sample(operations, rng.randint(0, len(operations)))
        return interactive(name, {op: rng.choice(["EMULATE", "HOST", "DENY"]) for op in chosen})

    def system(self) -> str | None:
        """Return the system text of a conversation, or None."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.34:
            return None
        if kind < 0.50:
            return PRIMER
        if kind < 0.72:
            return self.interactive()
        if kind < 0.82:
            return self.reworded_primer()
        if kind < 0.93:
            return self.expand(rng.choice(self.systems))
        return self.other()[:300]

    def reworded_primer(self) -> str:
        """Return a primer that is not ours: others' words, or ours in pieces."""
        rng, kind = self.rng, self.rng.random()
        if kind < 0.5:
            return self.expand(rng.choice(self.primers))
        parts = PRIMER.split("\n\n") if kind < 0.75 else re.split(r"(?<=\.) ", PRIMER)
        kept = [part for part in parts if rng.random() < 0.6] or [GUEST_API]
        rng.shuffle(kept)
        return rng.choice(["\n\n", "\n", " "]).join(kept)

    def boot(self) -> Turn:
        """Return the exchange of the bootstrap."""
        end = self.rng.choice([" ", "\n"]) if self.rng.random() < 0.08 else ""
        return self.rng.choice(TRIGGERS) + end, PAYLOAD

    def conversation(self) -> list[Message]:
        """Return a whole conversation: questions and others, now and then with a bootstrap."""
        rng, system = self.rng, self.system()
        if rng.random() < 0.12:
            turns = [self.turn() for _ in range(rng.choice([0, 0, 1, 3, 6]))]
            turns += [self.boot(), *(self.turn() for _ in range(rng.randint(0, 10)))]
            if rng.random() < 0.4:
                turns += [self.boot(), *(self.turn() for _ in range(rng.randint(0, 3)))]
        else:
            turns = [self.turn() for _ in range(rng.randint(1, 14))]
        talk = [
            (r, text)
            for turn in turns
            for r, text in zip(("user", "assistant"), turn, strict=True)
        ]
        return [("system", system), *talk] if system else talk

    def tokenizer_sample(self) -> list[str]:
        """Return texts in about the shares that the tokenizer should be good at.

        What is always the same stands whole, so that it becomes few pieces; what users say stands
        word by word, so that no piece spans two of their words.
        """
        same = [answer for answer, _ in self.topics.values()] + [REFUSAL, PRIMER]
        beside = [self.interactive() for _ in range(60)]
        said = [self.question()[0] for _ in range(8000)] + [self.other() for _ in range(8000)]
        said += [*self.primers, *self.systems, *self.nouns, *self.verbs, *self.manual_words]
        words = [piece for text in said for piece in re.findall(r"\s?\S+", text)]
        return [PAYLOAD] * 60 + same * 60 + beside + words
