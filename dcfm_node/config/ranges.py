"""The [domain] of a robot's recordings and of texts in run.toml, and the ranges that sites join."""

import re
from collections.abc import Sequence

from pydantic import ValidationError

from dcfm_node.config.columns import Columns, column_tables, most_values
from dcfm_node.config.toml import Document, written
from dcfm_node.domains.settings import Channel, TextSettings, TrajectoriesSettings

_BEFORE = "# The velocity network of every silo and of the student.\n"
_CHANNELS = re.compile(r"(?m)(?:^\[\[domain\.channel\]\] *\n(?:^[\w ].*\n)+\n*)+")


def with_domain(text: str, domain: TrajectoriesSettings | TextSettings | Columns) -> str:
    """The packaged run.toml for a robot's recordings, for texts as bytes, or for categories. Ranges
    scale recordings, so the run does not standardise them."""
    if isinstance(domain, tuple):
        said = (
            "# Samples are rows of a table, a token for each of these columns: the place of its\n"
            "# value. tokens is the number of values of the column with most.\n"
            f'[domain]\nkind = "categories"\n\n{column_tables(domain)}'
            f'[path]\nkind = "discrete"\ntokens = {most_values(domain)}\n\n'
        )
        return text.replace(_BEFORE, said + _BEFORE, 1)
    if isinstance(domain, TextSettings):
        said = (
            "# Samples are texts, and tokens are the bytes of UTF-8. The token 0 fills what a\n"
            f"# shorter text leaves.\n[domain]\nkind = {written(domain.kind)}\n\n"
            f'[path]\nkind = "discrete"\ntokens = {domain.alphabet}\n\n'
        )
        return text.replace(_BEFORE, said + _BEFORE, 1)
    said = (
        "# Samples are a robot's recorded episodes, a row for each channel, from -1 where its\n"
        "# number is low to 1 where it is high. All sites record fps frames a second.\n"
        f"[domain]\nkind = {written(domain.kind)}\nfps = {written(domain.fps)}\n\n"
    )
    text = text.replace(_BEFORE, said + _channels(domain.channel) + _BEFORE, 1)
    return re.sub(r"(?m)^#standardise = .*$", 'standardise = "none"', text, count=1)


def with_ranges(text: str, channels: Sequence[Channel]) -> str:
    """A run.toml with these channels in place of its own."""
    return _CHANNELS.sub(lambda _: _channels(channels), text, count=1)


def joined_ranges(documents: Sequence[Document]) -> tuple[Channel, ...] | None:
    """The channels of all sites, with ranges that hold those of each; None if they are not robots'
    recordings with the same channels and the same rate."""
    try:
        sites = [TrajectoriesSettings.model_validate(one.values.get("domain")) for one in documents]
    except ValidationError:
        return None
    if len({(site.fps, tuple(map(_place, site.channel))) for site in sites}) > 1:
        return None
    return tuple(
        one[0].model_copy(update={"low": min(c.low for c in one), "high": max(c.high for c in one)})
        for one in zip(*(site.channel for site in sites), strict=True)
    )


def _place(channel: Channel) -> tuple[str, int, str]:
    return channel.column, channel.index, channel.name


def _channels(channels: Sequence[Channel]) -> str:
    return "".join(
        "[[domain.channel]]\n"
        + "".join(
            f"{key} = {written(value)}\n"
            for key, value in channel.model_dump().items()
            if value != ""
        )
        + "\n"
        for channel in channels
    )
