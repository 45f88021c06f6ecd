"""What `init --data` found in a silo's files, as a document and as text."""

import re
import shlex
from pathlib import Path

from dcfm_node.api.commands import (
    FoundAttribute,
    FoundCombination,
    FoundData,
    FoundFeature,
    NodeMade,
)
from dcfm_node.cli.output import table
from dcfm_node.config.template import run_text
from dcfm_node.data.survey import Survey
from dcfm_node.domains.settings import Channel, TrajectoriesSettings

MOST = 12
"""Most features and values that the text lists; --json has all."""


def site_run(found: Survey) -> str:
    """The run.toml that fits a site's data. Sites with the same attributes name the run alike."""
    name = re.sub(r"[-_]+$", "", "-".join(attribute for attribute, _ in found.attributes)[:32])
    channels = tuple(
        Channel(column=at.column, index=at.index, name=at.name, low=low, high=high)
        for at, low, high in found.channels
    )
    domain = TrajectoriesSettings(fps=found.fps, channel=channels) if channels else None
    return run_text(
        name, found.sample_shape, found.attributes, found.assumed, found.columns, domain=domain
    )


def found_data(path: Path, found: Survey) -> FoundData:
    """The document of a survey."""
    return FoundData(
        path=str(path),
        format=found.spec.format,
        samples=found.samples,
        sample_shape=found.sample_shape,
        assumed=found.assumed,
        chose=found.chose,
        attributes=tuple(FoundAttribute(name=n, values=v) for n, v in found.attributes),
        combinations=tuple(FoundCombination(values=v, samples=n) for v, n in found.combinations),
        features=tuple(FoundFeature(**one._asdict()) for one in found.features),
        warnings=found.warnings,
        notes=found.notes,
    )


def made_text(made: NodeMade) -> str:
    """What `init` made, what it found, and what to do next."""
    config, run = made.config, made.run
    option = f"--config {shlex.quote(config)}"
    lines = [] if made.data is None else [*_data_lines(made.data), ""]
    lines.append(f"made {config}, {run} and keys in {made.folder}")
    if made.data is None:
        lines += [
            f"next: edit {config}: set your data and the addresses (ports 7400 and 7401 in the",
            "firewall, or none: see 'dcfm-node init --help'). Then run",
            f"  dcfm-node id {option}",
            "send its output to the other sites, and collect everyone's blocks in peers.toml; or",
            "pair with them: 'dcfm-node invite --help'",
        ]
        return "\n".join(lines)
    steps = [
        "pair with the other sites. One makes a code for each of the others, who use it; then all\n"
        "     compare fingerprints by phone, and approve each other:\n"
        f"     dcfm-node invite {option}\n"
        f"     dcfm-node join CODE {option}\n"
        f"     dcfm-node peers approve NAME {option}",
        "every site joins the attributes of all into its run.toml, and starts; if it runs already,"
        " to pair,\n     'dcfm-node stop' comes first:\n"
        f"     dcfm-node run merge {option}\n"
        f"     dcfm-node start {option}",
    ]
    if not made.advertised:
        steps.insert(0, f"write in {config} where peers reach this node ('dcfm-node init --help')")
    lines.append("other sites may have values that are not listed here. next:")
    lines += [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
    return "\n".join(lines)


def _data_lines(data: FoundData) -> list[str]:
    shape = " x ".join(map(str, data.sample_shape))
    lines = [f"found {data.samples} samples of shape {shape} in {data.path} ({data.format})", ""]
    lines += [f"{one.name}: {_some(one.values)}" for one in data.attributes]
    header = (*(one.name for one in data.attributes), "samples")
    lines += ["", table(header, [(*one.values, one.samples) for one in data.combinations]), ""]
    rows = [
        (f.name, *(f"{n:.4g}" for n in (f.least, f.greatest, f.mean, f.deviation)))
        for f in data.features[:MOST]
    ]
    lines.append(table(("", "least", "greatest", "mean", "deviation"), rows))
    if len(data.features) > MOST:
        lines.append(f"… and {len(data.features) - MOST} more; --json has all")
    told = [f"assumed: {one}" for one in (data.chose, data.assumed) if one]
    told += [*(f"warning: {one}" for one in data.warnings), *(f"note: {one}" for one in data.notes)]
    return [*lines, *([""] if told else []), *told]


def _some(values: tuple[str, ...]) -> str:
    more = f", … ({len(values)})" if len(values) > MOST else ""
    return ", ".join(values[:MOST]) + more
