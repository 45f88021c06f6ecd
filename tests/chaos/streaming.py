"""`python -m tests.chaos.streaming FOLDER`: fetch a large snapshot over a real link, and print its
size and by how much the memory of this process grew meanwhile, both in bytes.
"""

import os
import sys
import threading
import time
from pathlib import Path

import zmq

from dcfm_node.net.bulk import Bulk, BulkEvent, Fetched
from dcfm_node.net.peers import LinkPeer
from dcfm_node.store.snapshots import SnapshotStore

BYTES = 96 << 20
MOMENT_S = 0.005


def main(folder: Path) -> None:
    """Serve and fetch in this process, so that both ends count."""
    model = folder / "model"
    with model.open("wb") as file:
        for _ in range(BYTES >> 20):
            file.write(os.urandom(1 << 20))
    keys = [tuple(key.decode() for key in zmq.curve_keypair()) for _ in range(2)]
    stores = [SnapshotStore(folder / name) for name in ("holder", "fetcher")]
    snapshot = stores[0].adopt(model)
    done = threading.Event()

    def notify(event: BulkEvent) -> None:
        if isinstance(event, Fetched):
            done.set()

    def bulk(me: int, listen: str | None, address: str | None) -> Bulk:
        peer = LinkPeer(bytes([1 - me]) * 32, "peer", keys[1 - me][0], None, address)
        (public, secret) = keys[me]
        return Bulk(
            secret=secret,
            public=public,
            listen=listen,
            peers=[peer],
            files=stores[me],
            notify=notify,
        )

    holder = bulk(0, "tcp://127.0.0.1:*", None)
    holder.start()
    fetcher = bulk(1, None, holder.address)
    fetcher.start()
    before = most = anonymous()
    fetcher.fetch(snapshot)
    while not done.is_set():
        most = max(most, anonymous())
        time.sleep(MOMENT_S)
    fetcher.close()
    holder.close()
    path = stores[1].path(snapshot.digest)
    print(path.stat().st_size if path else 0, most - before)


def anonymous() -> int:
    """Memory of this process that is no file's, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) << 10


if __name__ == "__main__":
    main(Path(sys.argv[1]))
