"""What `init --data` found in a silo's files, as a document and as text."""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path

from dcfm_node.api.commands import (
    FoundAttribute,
    FoundCombination,
    FoundData,
    FoundFeature,
    FoundFiles,
    NodeMade,
)
from dcfm_node.cli.output import table
from dcfm_node.config.columns import Columns, SiteColumn
from dcfm_node.config.template import run_text
from dcfm_node.data.category_survey import survey_categories
from dcfm_node.data.known import Known, known
from dcfm_node.data.spec import TextData
from dcfm_node.data.survey import Survey, survey
from dcfm_node.data.text_survey import survey_texts, text_file
from dcfm_node.domains.settings import Channel, TextSettings, TrajectoriesSettings
from dcfm_node.errors import DataError
from dcfm_node.files import shipped_text

MOST = 12
"""Most features and values that the text lists; --json has all."""
DOMAINS = {"episodes": "cube", "radiographs": "chest-xray"}
"""The domain that reads a format, whose shipped run.toml all its sites use."""
NOTES = {
    "episodes": (
        "the attributes are source and destination, the quadrants of the table; a sample is one"
        " pick-and-place of 17 x 32 numbers. All sites need the same horizon and sample_shape",
    ),
    "radiographs": (
        "the run is of images of 32 x 32 pixels, without a codec. For larger ones fit a codec to"
        " public images first, and give its file to all sites: 'dcfm-node domain codec chest-xray"
        " --help' (docs/radiographs.md)",
        "patients 1 to 278 count as the NIH's public ones, and train nobody. If yours have these"
        " numbers, all sites set public = [] under [domain] in run.toml",
        "feasible in run.toml lists the combinations that 0.1 % of the NIH's images show, or more;"
        " images of others are left out. All sites need the same list",
        'patients = [FIRST, LAST] and view = "PA" under [data] in node.toml choose a part of the'
        " table",
    ),
}
"""What to decide before the run."""


def found_in(path: Path, chosen: Sequence[str], names: str | None) -> Known | Survey:
    """What a site's files are. The arguments are those of `survey`.

    Raises:
        DataError: they cannot be read, or are none of the formats; or an argument does not fit.
    """
    if (there := known(path)) is None:
        file = text_file(path) if not names else None
        if file is not None:
            return survey_texts(file, chosen)
        table = survey_categories(path, chosen) if not names else None
        return survey(path, chosen, names) if table is None else table
    if chosen or names:
        raise DataError(
            f"holds {there.spec.format}, and their domain names the attributes",
            where=str(path),
            fix="leave out --attributes and --names",
        )
    return there


def site_run(found: Known | Survey) -> str:
    """The run.toml that fits a site's data: the shipped one of a domain that reads such files
    alone. Other sites with the same attributes name the run alike."""
    if isinstance(found, Known):
        return shipped_text(f"runs/{DOMAINS[found.spec.format]}.toml")
    name = re.sub(r"[-_]+$", "", "-".join(attribute for attribute, _ in found.attributes)[:32])
    channels = tuple(
        Channel(column=at.column, index=at.index, name=at.name, low=low, high=high)
        for at, low, high in found.channels
    )
    domain: TrajectoriesSettings | TextSettings | Columns | None = None
    if found.categories:
        domain = tuple(SiteColumn(name=name, values=values) for name, values in found.categories)
    elif channels:
        domain = TrajectoriesSettings(fps=found.fps, channel=channels)
    elif isinstance(found.spec, TextData):
        domain = TextSettings()
    return run_text(
        name, found.sample_shape, found.attributes, found.assumed, found.columns, domain=domain
    )


def found_files(path: Path, found: Known) -> FoundFiles:
    """The document of what was recognised."""
    kind = found.spec.format
    return FoundFiles(
        path=str(path),
        format=kind,
        domain=DOMAINS[kind],
        files=found.files,
        samples=found.samples,
        notes=NOTES[kind],
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
    if made.files is not None:
        lines = [*_files_lines(made.files), ""]
    lines.append(f"made {config}, {run} and keys in {made.folder}")
    if made.data is None and made.files is None:
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
    if made.files is not None:
        steps.insert(0, f"see what the node reads: dcfm-node check {option}")
        lines.append("next:")
    else:
        lines.append("other sites may have values that are not listed here. next:")
    lines += [f"  {number}. {step}" for number, step in enumerate(steps, 1)]
    return "\n".join(lines)


def _files_lines(found: FoundFiles) -> list[str]:
    what = "episodes" if found.format == "episodes" else "images"
    many = f"{found.files} {'file' if found.files == 1 else 'files'}"
    return [
        f"found {found.samples} {what} in {many} in {found.path} ({found.format})",
        f"run.toml is the shipped one of the domain {found.domain}; all sites use the same",
        *(f"note: {note}" for note in found.notes),
    ]


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
    if rows:
        lines.append(table(("", "least", "greatest", "mean", "deviation"), rows))
    if len(data.features) > MOST:
        lines.append(f"… and {len(data.features) - MOST} more; --json has all")
    told = [f"assumed: {one}" for one in (data.chose, data.assumed) if one]
    told += [*(f"warning: {one}" for one in data.warnings), *(f"note: {one}" for one in data.notes)]
    return [*lines, *([""] if told else []), *told]


def _some(values: tuple[str, ...]) -> str:
    more = f", … ({len(values)})" if len(values) > MOST else ""
    return ", ".join(values[:MOST]) + more
