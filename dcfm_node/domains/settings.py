"""The package's own domains: their sections of run.toml. Pure."""

from typing import ClassVar, Literal

from dcfm_node.records.settings import DomainSettings


class PlainSettings(DomainSettings):
    """Whatever files a site has: vectors or pictures, with nothing to evaluate samples against."""

    code: ClassVar[str] = "dcfm_node.domains.plain:Plain"
    kind: Literal["plain"] = "plain"
