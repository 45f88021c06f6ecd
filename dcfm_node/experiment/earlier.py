"""Settings of experiments that earlier versions wrote, so that their results can still be shown."""

from collections.abc import Mapping
from typing import Any


def present(values: Any) -> Any:
    """Convert settings of earlier versions: [geometry] and [images] become domains."""
    if isinstance(values, list | tuple):
        return type(values)(map(present, values))
    if not isinstance(values, Mapping):
        return values
    found = {key: present(value) for key, value in values.items()}
    if geometry := found.pop("geometry", None):
        usual = {"kind": "gaussians"} | ({"samples": 2_000} if "modes" in geometry else {})
        found["domain"] = usual | geometry
    if images := found.pop("images", None):
        if inception := images.pop("inception", None):
            found["inception"] = inception
        found["domain"] = {"kind": "coloured-mnist"} | images
    return found


def retired(document: Mapping[str, Any]) -> dict[str, Any]:
    """Remove withdrawn settings from earlier results, so that they can still be shown.

    These are variants without benefit (protocol/decisions 0002 and 0010), and settings of other
    methods that every manifest contained before.
    """
    found = {key: value for key, value in document.items() if key != "weigh_gaps"}
    if isinstance(method := found.get("method"), dict):
        found["method"] = {k: v for k, v in method.items() if k not in ("routing", "top")}
    for scheme in found.get("scheme", ()):
        if scheme.get("method") == "dcfm-a-own-snapshot":
            scheme["method"] = "dcfm-a-at-once"
        scheme.get("change", {}).pop("weigh_gaps", None)
    return found
