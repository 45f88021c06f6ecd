"""The runbook: for each problem code, how to find its cause and what to do.

`docs/problems.md` is made from this and from `api/problems.py`.
"""

from typing import NamedTuple

from dcfm_node.api.problems import Code


class Entry(NamedTuple):
    """What to do about one problem.

    Attributes:
        look: how to find the cause.
        do: what ends the problem.
    """

    look: str
    do: str


_OTHER_SITE = "Read `dcfm-node status` at that site; only its own node knows the cause."
_WORKER_LOG = "Read the end of `state/worker.log`, then the node's own log."

RUNBOOK: dict[Code, Entry] = {
    Code.NODE_ALONE: Entry(
        "`dcfm-node peers` says what each dial met. If all dials fail in the same way, the cause is"
        " this machine: its network, DNS, or outgoing firewall. Unknown keys under `pending` mean"
        " that peers reach this node, but this node's peers.toml is not the one that they use.",
        "Repair the network, or the addresses in peers.toml. The node connects by itself.",
    ),
    Code.PEER_SILENT: Entry(
        "The sentence names the last failed dial. 'Refused the connection': the machine is up and"
        " its node is not. 'Did not answer': the machine is off, or a firewall drops the packets."
        " 'Connected, and silent': its process hangs, or is suspended.",
        "Ask the site to start its node. In a tolerant run, the others go on without it after"
        " `policy.stall_s`. If it will not come back, continue the run with another roster.",
    ),
    Code.PEER_DISK_FULL: Entry(
        "That node said so itself, in its signs of life.",
        "The site makes room, or moves its `state` folder. Its node continues by itself.",
    ),
    Code.PEER_STUCK: Entry(
        f"{_OTHER_SITE} Usual causes: no bulk link to any silo that holds the snapshot, or a"
        " firewall that cuts large transfers.",
        "Open the bulk port of one of the two sites, in one direction at least.",
    ),
    Code.PEER_STALLED: Entry(
        f"{_OTHER_SITE} Usual causes: its training process fails again and again, or its machine"
        " is too slow or suspended.",
        "A tolerant run goes on without it after `policy.stall_s`; a strict one waits.",
    ),
    Code.PEER_MISMATCH: Entry(
        "The sentence names the field of run.toml, or the version, that differs.",
        "Give all sites the same run.toml, peers.toml and version. Restart the node that differs.",
    ),
    Code.PEER_FORKED: Entry(
        "Two records of that silo have one number. Usual cause: its state folder was restored from"
        " an old backup, or two nodes ran with one key.",
        "Its later records do not count, in this run, for good. Keep the proof"
        " (`dcfm-node proof write`), and continue the run with new keys for that silo.",
    ),
    Code.PEER_QUARANTINED: Entry(
        "The sentence says what it did; `dcfm-node journal --silo NAME` shows its records.",
        "Ask the site whether its node was changed or its key stolen. Continue the run without it.",
    ),
    Code.PEER_ACCUSED: Entry(
        "The sentence names who accuses it, and of what.",
        "Compare what several members say. One accuser alone may be at fault itself.",
    ),
    Code.BUNDLE_OVERDUE: Entry(
        "Nobody has brought records of that silo for a week.",
        "Export a bundle there (`dcfm-node bundle export`), and import it here.",
    ),
    Code.EXPERT_REFUSED: Entry(
        "`dcfm-node journal --silo` of those who refuse shows how they scored it. Usual causes:"
        " wrong labels, other units, or too little data at that silo.",
        "That site corrects its data. Its node then trains another model by itself.",
    ),
    Code.LINK_DOWN: Entry(
        "The sentence says what each dial met. A firewall often opens the control port and not the"
        " bulk port. A handshake that is ended on both ports means a wrong key in a peers.toml.",
        "Open the port at one of the two sites: one direction is enough. Or correct the key.",
    ),
    Code.LINK_FAULT: Entry(
        "The node's log has the error.", "Restart the node to clear it, and report it."
    ),
    Code.KEY_SHARED: Entry(
        "The sentence names both machines. Usual cause: a copied folder, or a service that was"
        " started twice.",
        "Stop one of the two at once: together they sign two histories, which cannot be undone.",
    ),
    Code.DESCRIPTORS_EXHAUSTED: Entry(
        "`dcfm-node status --explain` counts the connections of strangers.",
        "Raise LimitNOFILE, and close the port to the addresses that do not belong to the run.",
    ),
    Code.KEY_TAKEN: Entry(
        "Another process signs with this node's key: a second node, a restored backup, or a thief.",
        "Stop the other one. If you do not know it, treat the key as stolen: `dcfm-node keys"
        " rotate`, and continue the run.",
    ),
    Code.METHOD_FAILED: Entry(
        "The sentence has the error of the package.",
        "Ask its author. The node decides again as soon as it is restarted with a working version.",
    ),
    Code.JOURNAL_FULL: Entry(
        "The run is too long for one journal.", "Continue it: `dcfm-node run continue`."
    ),
    Code.RECORD_REFUSED: Entry(
        "The sentence says which field does not fit the run.",
        "Correct the node's settings or data, and restart it.",
    ),
    Code.QUORUM_LOST: Entry(
        "`dcfm-node status` marks the silos that withdrew.",
        "This run cannot end. `dcfm-node run continue` takes its newest student along.",
    ),
    Code.ELECTIONS_STOPPED: Entry(
        "The silo table of `dcfm-node status` shows who is silent.",
        "The run waits, and loses nothing. It goes on as soon as one of them is back.",
    ),
    Code.STUDENT_INVALID: Entry(
        "The sentence names the rule that the leader broke.",
        "Nothing: another silo distils it again. If it happens again, ask that site.",
    ),
    Code.STUDENT_REJECTED: Entry(
        "The sentence has the reason of the first silo that refused it.",
        "If the reason is quality, see `below-floor`. If it is the leader's doing, ask that site.",
    ),
    Code.STUDENT_INCOMPLETE: Entry(
        "The sentence names the silos that are missing.",
        "The next round takes them in once they are back. After the last round, continue the run.",
    ),
    Code.BELOW_FLOOR: Entry(
        "`dcfm-node student judge` shows which combinations come out wrong.",
        "The fix lists settings to change, the likeliest first. Begin another run with them.",
    ),
    Code.QUALITY_UNMEASURED: Entry(
        "The sentence says what is missing to measure it.",
        "Run `dcfm-node student judge` at each site. Look at samples before you use the student.",
    ),
    Code.STUDENT_MISSING: Entry(
        "Read the other problems: they say why none was released.",
        "Begin another run, with another seed, other settings or more data.",
    ),
    Code.VALUE_UNSEEN: Entry(
        "Compare the values in run.toml with the labels of each silo's data.",
        "Remove the value from run.toml, or add samples of it. Both need a new run.",
    ),
    Code.COVERAGE_GAP: Entry(
        "The sentence names the silos that share no value with the others.",
        "Add samples of the combinations that the fix names, at any site.",
    ),
    Code.DISK_FULL: Entry(
        "`df` of the state folder, also `df -i`; quotas; `mount` for a read-only disk; `dmesg` for"
        " errors of the disk.",
        "Make room. The node repeats the write every few seconds and loses nothing.",
    ),
    Code.DISK_LOW: Entry(
        "`df` of the state folder. A run keeps a few models of each silo; `du` of `snapshots` says"
        " how much that is.",
        "Make room before the disk is full: a node with a full disk takes no part.",
    ),
    Code.FETCH_STUCK: Entry(
        "`dcfm-node status --explain`: who holds the snapshot, and whether a bulk link to one of"
        " them stands.",
        "Open the bulk port of one of the two sites. In a tolerant run the others go on.",
    ),
    Code.OPERATION_FAILED: Entry(
        "The node's log has the operation and its error.",
        "It is tried again by itself. It ends two minutes after the last failure.",
    ),
    Code.EVENT_DROPPED: Entry(
        "The node's log has the traceback.",
        "Report it. A restarted node takes in that silo's records again.",
    ),
    Code.WORKER_DOWN: Entry(
        f"The sentence says why. {_WORKER_LOG} Often the system ended it because memory ran out"
        " (`dmesg`).",
        "It starts again by itself, and goes on from its checkpoint. If its data moved or changed,"
        " put the data back, or restart the node to train on what is there. Else give it more"
        " memory, or fewer threads under `[worker]`.",
    ),
    Code.WORK_FAILED: Entry(
        _WORKER_LOG,
        "It is tried again by itself, after longer and longer pauses. Correct what the log names.",
    ),
    Code.EXPERT_WITHHELD: Entry(
        "The sentence has the AUC of membership inference on this site's expert, and the limit of"
        " `[privacy]` in node.toml; or that too few samples are held out to measure it.",
        "The weights have not left this site. Add samples: networks remember less of more. Or agree"
        " on a new run with a smaller `[network]` or fewer `steps`. Or raise `membership_auc`, and"
        " restart the node. The others go on without this expert once it is overdue.",
    ),
    Code.PAGE_DOWN: Entry(
        "The node's log says why its process ended: an address in use, or no memory.",
        "It starts again by itself. Correct `[page] listen` if the address is in use.",
    ),
    Code.CHECKPOINTS_STOPPED: Entry(
        "`df` of the state folder.", "Make room. Until then, a crash loses the present stage."
    ),
    Code.DATA_SCALE: Entry(
        "The sentence has mean and deviation.",
        'Scale the samples, or set `standardise = "feature"` in run.toml (a new run).',
    ),
    Code.DATA_FEATURES: Entry(
        "The sentence names the features.",
        "Check these columns at the source: a sensor that failed, a default value, a typing error.",
    ),
    Code.DATA_UNITS: Entry(
        "The sentence compares the silo's mean with that of the others.",
        "Compare the units of that feature at the sites, and convert the data of one of them.",
    ),
    Code.DATA_ALIKE: Entry("All samples have the same values.", "Check what `[data]` points to."),
    Code.DATA_LABELS: Entry(
        "Compare a few labels with the values of the attributes in run.toml.",
        "If the labels count from 1, subtract 1, or write the names in place of numbers.",
    ),
    Code.DATA_CHANGED: Entry(
        "The files under `[data]` are not those that this silo joined the run with.",
        "Put them back. For new data, agree on a new run.",
    ),
}
