"""A silo's private data, as the run would read it. Nothing of it is sent or kept."""

from dataclasses import dataclass, field

import numpy as np

from dcfm_node.api.checked import Finding
from dcfm_node.api.commands import FoundFeature
from dcfm_node.config.keys import NodeKeys
from dcfm_node.config.node import NodeConfig
from dcfm_node.data.privacy import MOMENTS_OFF, MOMENTS_UNDO, published
from dcfm_node.data.source import Counts, counts, feature_names
from dcfm_node.data.spec import expecting
from dcfm_node.data.survey import ranges
from dcfm_node.domains import base as domains
from dcfm_node.errors import UserError
from dcfm_node.preflight.findings import In
from dcfm_node.records.entries import MEMBERSHIP_FEWEST
from dcfm_node.records.manifest import Manifest

DATA = In("data")
FEW = 20
"""Fewer training samples of a combination than this teach little of it."""
NAMED = 4


@dataclass
class Data:
    """What was found."""

    counts: Counts | None = None
    """Of the training samples."""
    whole: Counts | None = None
    """Of all samples, the hold-out's included."""
    size_bytes: int = 0
    features: tuple[FoundFeature, ...] = ()
    findings: list[Finding] = field(default_factory=list)


def private_data(
    config: NodeConfig | None, manifest: Manifest | None, features: tuple[str, ...] = ()
) -> Data:
    """Read this silo's data by its own settings and those of the run.

    Args:
        features: names of the numbers of a sample, as run.toml has them, if it does.
    """
    found = Data()
    if config is None:
        return found
    try:
        config.data.check_paths()
        if manifest is None:
            first = "there: its fit is not checked, because the settings above must be right first"
            found.findings.append(DATA.unknown("files", first))
            return found
        spec = expecting(config.data, features)
        data = domains.of(manifest).load(manifest, spec)
        names = feature_names(spec, manifest)
    except UserError as error:
        found.findings.append(DATA.wrong("files", error))
        return found
    found.counts, found.size_bytes = data.counts, data.train.x.nbytes + data.holdout.x.nbytes
    found.whole = counts(np.concatenate([data.train.c, data.holdout.c]))
    found.features = tuple(
        FoundFeature(**one._asdict()) for one in ranges(data.train.x, tuple(names))
    )
    numbers = [number for _, number in data.counts]
    held = f"{len(numbers)} combinations, {min(numbers)} to {max(numbers)} of each"
    what = f"{sum(numbers)} training samples and {len(data.holdout.x)} held out; {held}"
    found.findings.append(DATA.ok("files", what, samples=sum(numbers)))
    for warning in data.warnings:
        if warning.unscaled:  # the run standardises
            continue
        fix = warning.fix or "look at the file; the node starts all the same"
        found.findings.append(DATA.degraded(warning.code.removeprefix("data-"), warning.what, fix))
    if few := [label for label, number in data.counts if number < FEW]:
        attributes = manifest.attributes
        named = ", ".join(
            "/".join(a.values[v] for a, v in zip(attributes, label, strict=True))
            for label in few[:NAMED]
        )
        more = f" and {len(few) - NAMED} more" if len(few) > NAMED else ""
        what = f"fewer than {FEW} training samples are {named}{more}"
        found.findings.append(DATA.degraded("few samples", what, "add samples of them, if you can"))
    return found


def told_counts(
    data: Data, config: NodeConfig | None, keys: NodeKeys | None, manifest: Manifest | None
) -> Counts | None:
    """The label counts that peers will learn, by [privacy] of node.toml; those of all training
    samples where that cannot be known. Adds what is to say of them to the findings."""
    if data.counts is None or data.whole is None or config is None or keys is None:
        return data.counts
    privacy, secret = config.privacy, keys.sign.private_bytes_raw()
    try:
        told = published(data.counts, data.whole, privacy, secret)
    except UserError as error:
        data.findings.append(DATA.wrong("label counts", error))
        return data.counts
    if privacy.membership_auc is not None:
        data.findings.append(_gate(privacy.membership_auc, data.counts, data.whole))
    if privacy.counts != "exact":
        left_out = len(data.whole) - len(told)
        what = f"peers learn {len(told)} of them, and take {left_out} for not held: {privacy.told}"
        data.findings.append(DATA.ok("label counts", what, left_out=left_out))
        if config.publish_moments and manifest is not None and manifest.groups:
            data.findings.append(DATA.degraded("publish_moments", MOMENTS_UNDO, MOMENTS_OFF))
    return told


def _gate(limit: float, trained: Counts, whole: Counts) -> Finding:
    """Whether the privacy gate can measure what an expert tells. Probes are not known yet."""
    train, every = dict(trained), dict(whole)
    pairs = sum(min(many, every[label] - many) for label, many in train.items())
    if pairs < MEMBERSHIP_FEWEST:
        what = (
            f"its expert will not be published: {pairs} hold-out samples have a combination that it"
            f" trains on, and membership_auc needs {MEMBERSHIP_FEWEST} to be measured"
        )
        return DATA.degraded("membership_auc", what, "raise holdout under [data], or add samples")
    what = f"its expert is published if membership inference on it has an AUC of at most {limit:g}"
    return DATA.ok("membership_auc", f"{what}; {pairs} hold-out samples measure it", pairs=pairs)
