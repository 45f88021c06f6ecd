"""Takes secrets and private names out of what leaves a site. Pure.

A path may hold blanks, so nothing in a line says where it ends: all that follows goes too, up to
the quote that closes it or the end of the line.
"""

import base64
import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any

INSTALLED = (
    *("/usr/lib", "/usr/lib64", "/usr/bin", "/usr/local/lib", "/lib", "/lib64", "/bin"),
    *("/proc", "/sys", "/nix/store"),
)
"""Paths below these say what is installed, and nothing of the site."""
KEPT_PLACES = ("STATE", "PYTHON")
"""Below these places, the program or its packages name the files: their paths stay."""
_NAME = r"[\w.@+=,-]+"
_INSTALLED = re.compile(
    rf"(?:{'|'.join(map(re.escape, INSTALLED))})(?:/(?!\.\./){_NAME})*(?![\w/@+=,-])"
)
_PRIVATE = re.compile(
    r"(?P<place>\b(?:DATA|NODE|HOME)\b)|(?<![\w/])~[\w.-]+/|file:/+|(?<![:/\w])//(?=[^/\s])"
    r"|(?<![\w/<])/(?=[^/\s])|(?P<setting>\.toml:\d+|\bdata\.attributes\b)"
)
"""Where a private path begins, or a message about this node's settings ends its place."""
_SAMPLES = re.compile(
    r"\.(?:bmp|gif|jpe?g|pgm|png|ppm|tiff?|webp|npz|npy|csv|tsv|txt|xlsx?|idx|gz|dcm|nii)\b", re.I
)
_PIECE = re.compile(r"[^\"':;,()=]+")
_QUOTED = re.compile(
    r"(?<!\w)(?P<kind>[bBrRuU]{0,2})(?P<quote>['\"])(?P<words>(?:(?!(?P=quote)(?!\w)).)*)"
    r"(?P<close>(?P=quote)?)"
)
_HARMLESS = re.compile(
    rf"(?:DATA|NODE|HOME|PATH)…|…|REDACTED|SECRET|dcfm-node [\w -]+|"
    rf"(?:{'|'.join(KEPT_PLACES)})(?:/{_NAME})*|<[a-z ]+>"
)
_KEY = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_OWN_FIELD = re.compile(r"(?:^|\s)(?:why|reason|says|fix|doing)=$")
"""Before a value that the log itself quotes, since it has blanks."""


class Redactor:
    """Redacts text, and counts what it took out.

    Args:
        places: what stands for each known path, by path: {"/srv/scans": "DATA"}.
        secrets: what must not leave in any form.
        words: words of the private data that are known, such as names of columns.

    Attributes:
        taken: how often each kind of thing was taken out.
    """

    def __init__(
        self, places: Mapping[str, str], secrets: Collection[bytes], words: Collection[str] = ()
    ) -> None:
        longest_first = sorted(filter(None, places), key=len, reverse=True)
        self._places = [(_place(p, places[p]), places[p]) for p in longest_first]
        self._secrets = [form for secret in secrets for form in _forms(secret)]
        any_word = "|".join(re.escape(w) for w in sorted(words, key=len, reverse=True) if w)
        self._words = re.compile(rf"(?<!\w)(?:{any_word})(?!\w)") if any_word else None
        self.taken: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """The text without secrets, private paths and quoted words."""
        for secret in self._secrets:
            for form in {secret.decode("latin-1"), secret.decode(errors="replace")}:
                text = self._count("secrets", *_replaced(text, form, "SECRET"))
        return "\n".join(self._line(line) for line in text.split("\n"))

    def log(self, text: str) -> str:
        """The text of a log, of which lines may be JSON: their strings are redacted, as what JSON
        escapes is not recognised."""
        return "\n".join(self._entry(line) for line in text.splitlines()) + "\n"

    def document(self, value: Any) -> Any:
        """Plain JSON values with every string in them redacted, also keys with blanks."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {
                key if _KEY.fullmatch(key) else self.text(key): self.document(item)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple):
            return [self.document(item) for item in value]
        return value

    def is_data(self, path: str) -> bool:
        """Whether a path is of the private data, or looks like a file of samples."""
        known = any(word == "DATA" and pattern.match(path) for pattern, word in self._places)
        return known or _SAMPLES.search(path) is not None

    def leaks(self, content: bytes) -> bool:
        """Whether a secret is in there all the same, in any form."""
        return any(secret in content for secret in self._secrets)

    def _entry(self, line: str) -> str:
        begin, brace, rest = line.partition("{")
        if line.rstrip().endswith("}"):
            with suppress(ValueError, RecursionError):
                found = self.document(json.loads(brace + rest))
                return self.text(begin) + json.dumps(found, ensure_ascii=False)
        return self.text(line)

    def _line(self, line: str) -> str:
        for pattern, word in self._places:
            line = self._count("known paths", *pattern.subn(word, line))
        line = self._without_paths(line)
        if self._words is not None:
            line = self._count("words of the data", *self._words.subn("REDACTED", line))
        line = _PIECE.sub(self._sample, line)
        return _QUOTED.sub(self._quoted, line)

    def _without_paths(self, line: str) -> str:
        kept, at = "", 0
        while found := _PRIVATE.search(line, at):
            start = found.start()
            if installed := _INSTALLED.match(line, start):
                kept, at = kept + line[at : installed.end()], installed.end()
                continue
            self.taken["paths"] += 1
            shown = found["place"] or found["setting"] or "PATH"
            quote = line[start - 1 : start]
            closed = quote in ("'", '"') and re.compile(rf"{quote}(?!\w)").search(line, found.end())
            end = closed.start() if closed else len(line)
            kept, at = f"{kept}{line[at:start]}{shown}…", end
        return kept + line[at:]

    def _sample(self, piece: re.Match[str]) -> str:
        if not _SAMPLES.search(piece[0]):
            return piece[0]
        self.taken["names of data files"] += 1
        return "…"

    def _quoted(self, found: re.Match[str]) -> str:
        words = found["words"]
        if not words or (_HARMLESS.fullmatch(words) or _INSTALLED.fullmatch(words)):
            return found[0]
        before = found.string[max(0, found.start() - 10) : found.start()]
        if _OWN_FIELD.search(before) and found["close"]:
            inner = _QUOTED.sub(self._quoted, words)
            return f"{found['kind']}{found['quote']}{inner}{found['close']}"
        self.taken["quoted words"] += 1
        return f"{found['kind']}{found['quote']}…{found['close']}"

    def _count(self, kind: str, text: str, times: int) -> str:
        self.taken[kind] += times
        return text


def _place(path: str, word: str) -> re.Pattern[str]:
    """Finds a path. One below which names stay must end clearly: "/srv/state of B" is another."""
    end = r"(?=/|$|[\"':,])" if word in KEPT_PLACES else r"(?![\w-])"
    return re.compile(re.escape(path) + end)


def _replaced(text: str, what: str, by: str) -> tuple[str, int]:
    return text.replace(what, by), text.count(what)


def _forms(secret: bytes) -> list[bytes]:
    """How a secret may be written: as it is, in hex, in base64, and, of hex, the bytes it means."""
    secret = secret.strip()
    if len(secret) < 8:
        return []
    raw = [secret]
    with suppress(ValueError):
        raw.append(bytes.fromhex(secret.decode("ascii")))
    forms = [(it, it.hex().encode(), base64.b64encode(it).rstrip(b"=")) for it in raw]
    return [form for of in forms for form in of]
