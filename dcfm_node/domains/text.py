"""The sites' own texts, as bytes or words, without a known truth."""

import math
from collections.abc import Mapping
from functools import cached_property, partial

from dcfm_node.data import source as files
from dcfm_node.data.raw import Raw
from dcfm_node.data.source import SiloData
from dcfm_node.data.spec import DataSpec, FileData, TextData
from dcfm_node.data.texts import read_texts
from dcfm_node.domains.plain import Unjudged
from dcfm_node.domains.settings import TextSettings
from dcfm_node.records.manifest import Manifest
from dcfm_node.samples import Stored


class Text(Unjudged[TextSettings]):
    """A sample is a text, a token for each byte or word."""

    def load(self, manifest: Manifest, source: DataSpec) -> SiloData:
        """Also reads `format = "text"`."""
        if isinstance(source, TextData):
            return files.load(source, manifest, partial(_read, self))
        return super().load(manifest, source)

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, each above 0.

        Raises:
            ValueError: a word is not on the run's list.
        """
        if not self.settings.words:
            return list(text.encode())
        if unknown := [word for word in text.split() if word not in self._known]:
            raise ValueError(f"the word {unknown[0][:64]!r} is not in the run's domain.words")
        return [self._known[word] for word in text.split()]

    @cached_property
    def _known(self) -> dict[str, int]:
        return {word: token for token, word in enumerate(self.settings.words, start=1)}

    def text(self, x: Stored) -> list[str]:
        """Texts of tokens (N, *sample_shape), without the token 0. Bytes that are not UTF-8 become
        U+FFFD."""
        flat = math.prod(x.shape[1:])
        rows = [[int(token) for token in row if token > 0] for row in x.reshape(len(x), flat)]
        if self.settings.words:
            return [" ".join(self.settings.words[token - 1] for token in row) for row in rows]
        return [bytes(row).decode(errors="replace") for row in rows]


def _read(
    domain: Text,
    spec: FileData,
    columns: Mapping[str, str],
    order: tuple[str, ...],
    shape: tuple[int, ...],
) -> Raw:
    assert isinstance(spec, TextData)
    return read_texts(spec, columns, shape, domain.encode)
