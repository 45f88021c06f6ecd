"""Takes secrets and private names out of text that leaves a site. Pure."""

import base64
import re
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import suppress

PUBLIC_ROOTS = ("/usr", "/opt", "/lib", "/bin", "/sbin", "/proc", "/sys", "/dev", "/run", "/nix")
"""Paths below these say what is installed, and nothing of the site."""
_PATH = re.compile(r"(?<![\w.:/<>-])/(?:[\w.@+~%=,-]+/)*[\w.@+~%=,-]+")
_PRIVATE_KEYS = ("path", "labels", "index", "token_file", "names", "ignore")
_SETTING = re.compile(rf"(?m)^(\s*(?:{'|'.join(_PRIVATE_KEYS)})\s*=\s*).*$")


class Redactor:
    """Redacts text, and counts what it took out.

    Args:
        places: what stands for each known path, by path: {"/srv/scans": "DATA"}.
        secrets: what must not leave in any form.

    Attributes:
        taken: how often each kind of thing was taken out.
    """

    def __init__(self, places: Mapping[str, str], secrets: Collection[bytes]) -> None:
        longest_first = sorted(filter(None, places), key=len, reverse=True)
        self._places = [(re.compile(rf"{re.escape(p)}(?![\w-])"), places[p]) for p in longest_first]
        self._secrets = [form for secret in secrets for form in _forms(secret)]
        self.taken: Counter[str] = Counter()

    def text(self, text: str) -> str:
        """The text without secrets, and with a word in place of each private path. Of files in the
        folder of the private data, not even the names stay."""
        for secret in self._secrets:
            text = self._count("secrets", *_replaced(text, secret.decode("latin-1"), "SECRET"))
        for pattern, word in self._places:
            text = self._count("known paths", *pattern.subn(word, text))
        text = self._count("names of data files", *re.subn(r"\bDATA/[^\s\"',;:)]+", "DATA/…", text))
        hidden = 0

        def hide(found: re.Match[str]) -> str:
            nonlocal hidden
            if found[0].startswith(PUBLIC_ROOTS):
                return found[0]
            hidden += 1
            return "PATH"

        text = _PATH.sub(hide, text)
        self.taken["other paths"] += hidden
        return text

    def settings(self, text: str) -> str:
        """The text of a node.toml, without the values that name private files and columns."""
        return self.text(self._count("settings", *_SETTING.subn(r'\1"REDACTED"', text)))

    def leaks(self, content: bytes) -> bool:
        """Whether a secret is in there all the same, in any form."""
        return any(secret in content for secret in self._secrets)

    def _count(self, kind: str, text: str, times: int) -> str:
        self.taken[kind] += times
        return text


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
