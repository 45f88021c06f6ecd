"""The package's own probability paths: their sections of run.toml. Pure."""

from typing import ClassVar, Literal

from dcfm_node.records.settings import PathSettings


class LinearPathSettings(PathSettings):
    """x_t = (1 - t) x_0 + t x_1 from Gaussian noise x_0 (Lipman et al., 2023)."""

    code: ClassVar[str] = "dcfm_node.paths.linear:LinearPath"
    kind: Literal["linear"] = "linear"
