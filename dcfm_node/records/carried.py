"""What each kind of record and message carries out of a silo, in words (SPEC 11.7).

No kind has a field for a sample or for the label of a sample. The table is complete: a test
compares it with every kind in the code and with the table in SPEC.
"""

from dataclasses import dataclass
from typing import Literal

Derived = Literal["nothing", "names", "figures", "weights"]
"""What of the private data a kind can tell: nothing; the names of attribute values and of columns,
which the operator or `init` read from them; counts and figures over many samples; or the weights of
a network, which can keep traces of the samples that it was trained on."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What a kind carries.

    Attributes:
        what: for people.
        derived: what of it follows from private data.
    """

    what: str
    derived: Derived = "nothing"


CARRIED = {
    "join": Carried(
        "the silo's name and software; the number of its samples of each combination of attribute"
        " values, as its [privacy] settings give it; unless it declined, the mean and the standard"
        " deviation of each feature over its training samples",
        "figures",
    ),
    "expert": Carried(
        "digest and size of the weights that the silo trained on its data, and their losses",
        "figures",
    ),
    "audit": Carried("how other silos' experts score on the silo's hold-out samples", "figures"),
    "vote": Carried("which silo it votes for in an election"),
    "lease": Carried("which votes elected it"),
    "propose": Carried(
        "which joins the run builds on, which combinations are withheld as probes, and the mean and"
        " the standard deviation of each feature over all silos",
        "figures",
    ),
    "accept": Carried("the same as the proposal that it accepts", "figures"),
    "checkpoint": Carried("digest and size of a student's training state, made without any data"),
    "student": Carried(
        "digest and size of a student's weights, who taught it, and losses against its teachers"
    ),
    "endorse": Carried("how a student scores on the silo's hold-out samples", "figures"),
    "refuse": Carried("the same, and why the silo does not accept the student", "figures"),
    "verdict": Carried("which rule a member broke, in words that the node makes"),
    "withdraw": Carried("that the silo leaves, and why, in words that its operator typed"),
    "heartbeat": Carried("what the node does at present, and how many steps of it are done"),
    "sync": Carried("how many records of each silo the node holds, and its wall clock"),
    "entries": Carried(
        "the envelope around records and heartbeats, which are counted by themselves"
    ),
    "mismatch": Carried("the run's manifest: settings, attributes and roster", "names"),
    "ask": Carried("whether a peer holds a snapshot"),
    "holds": Carried("that the node holds a snapshot, and the hashes of its chunks"),
    "has": Carried("which chunks of a snapshot the node holds by now"),
    "lacks": Carried("that the node does not hold a snapshot"),
    "want": Carried("which chunk of a snapshot it asks for"),
    "chunk": Carried("a piece of weights: an expert's, a student's or a checkpoint's", "weights"),
    "bundle": Carried(
        "the label of a bundle: the manifest, and what its author holds of the run", "names"
    ),
    "pairing": Carried(
        "the site's name, public keys and addresses; to a site that it approved also its run.toml"
        " (names and values of attributes, names of columns), and the same of its other peers",
        "names",
    ),
}
"""By kind: of records, control messages, heartbeats, bulk messages, labels of bundles, pairing."""
