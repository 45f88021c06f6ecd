"""What befalls the simulated runs: one table, read by the tests beside it."""

from dataclasses import replace

from dcfm_node.simulation.scenario import Scenario

CALM = Scenario(work_s=(5.0, 30.0), stall_s=60.0, quiet_s=240.0)
PAPER = replace(CALM, schedule="paper")
TOLERANT = replace(CALM, participation="tolerant")
FEDFLOW = replace(CALM, method="fedflow", rounds=5)
FEDFLOW_TOLERANT = replace(FEDFLOW, participation="tolerant")
DDM = replace(CALM, method="ddm")
PAPER_TOLERANT = replace(TOLERANT, schedule="paper")

EVERY_RECORD = ("join", "expert", "vote", "lease", "student", "endorse")
ELECTION = ("vote", "lease", "student")
UNRELIABLE = {"loss": 0.3, "duplicate": 0.3, "delay_s": (0.01, 3.0)}
SPLIT = {"partition_s": (20.0, 140.0), "loss": 0.1}
ONE_WAY = {"one_way_s": (20.0, 140.0), "loss": 0.1}
DISK_LOSS = {"crashes_diskless": 4, "loss": 0.1}

SEVEN = {
    "calm": CALM,
    "calm, paper": PAPER,
    "messages lost, repeated, overtaken": replace(CALM, **UNRELIABLE),
    "messages lost, repeated, overtaken, paper": replace(PAPER, **UNRELIABLE),
    "power cuts": replace(CALM, crashes=8, loss=0.1),
    "power cuts, paper, tolerant": replace(PAPER_TOLERANT, crashes=8, loss=0.1),
    "power cuts amid publishing": replace(CALM, crash_on=EVERY_RECORD, crash_on_limit=8, loss=0.1),
    "power cuts amid elections, sparse": replace(
        CALM, crash_on=ELECTION, crash_on_limit=6, degree=3, loss=0.2
    ),
    "power cuts amid publishing, paper": replace(
        PAPER, crash_on=EVERY_RECORD, crash_on_limit=8, loss=0.1
    ),
    "power cuts amid elections, tolerant": replace(
        TOLERANT, crash_on=ELECTION, crash_on_limit=6, loss=0.1
    ),
    "deaths, tolerant": replace(TOLERANT, deaths=2, crashes=3, loss=0.1),
    "deaths in turn, paper, tolerant": replace(PAPER_TOLERANT, deaths=2, loss=0.1),
    "split": replace(CALM, **SPLIT),
    "split, tolerant": replace(TOLERANT, **SPLIT),
    "split, paper, tolerant": replace(PAPER_TOLERANT, **SPLIT),
    "one way": replace(CALM, **ONE_WAY),
    "one way, tolerant": replace(TOLERANT, **ONE_WAY),
    "a silo comes late": replace(CALM, late_s=120.0),
    "a silo comes late, tolerant": replace(TOLERANT, late_s=150.0),
    "a silo comes late, paper, tolerant": replace(PAPER_TOLERANT, late_s=150.0),
    "disks lost": replace(CALM, **DISK_LOSS),
    "disks lost, paper": replace(PAPER, **DISK_LOSS),
    "disks lost while split, sparse": replace(
        CALM, crashes_diskless=4, loss=0.3, degree=3, partition_s=(40.0, 110.0)
    ),
    "calm, averaging": FEDFLOW,
    "power cuts amid publishing, averaging": replace(
        FEDFLOW, crash_on=EVERY_RECORD, crash_on_limit=8, loss=0.1
    ),
    "messages lost, sparse, averaging": replace(FEDFLOW, **UNRELIABLE, degree=3),
    "deaths, averaging, tolerant": replace(FEDFLOW_TOLERANT, deaths=2, crashes=3, loss=0.1),
    "a silo comes late, averaging, tolerant": replace(FEDFLOW_TOLERANT, late_s=150.0),
    "disks lost, averaging": replace(FEDFLOW, **DISK_LOSS),
    "power cuts, ensemble": replace(DDM, crashes=8, loss=0.1),
    "deaths, ensemble, tolerant": replace(
        DDM, participation="tolerant", deaths=2, crashes=3, loss=0.1
    ),
    "half behind NAT": replace(CALM, nodes=9, dial_only=4, crashes=4, loss=0.1),
    "one silo": replace(CALM, nodes=1, crashes=1),
    "two silos": replace(CALM, nodes=2, crashes=3),
    "three silos, disks lost": replace(CALM, nodes=3, crashes=4, crashes_diskless=2, loss=0.1),
}

FIFTY = Scenario(
    nodes=50,
    degree=8,
    gossip_s=10.0,
    loss=0.1,
    crashes=10,
    partition_s=(60.0, 240.0),
    work_s=(5.0, 30.0),
    quiet_s=300.0,
    limit_s=20_000.0,
)
