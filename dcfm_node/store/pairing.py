"""Invites, and the sites that wait for approval: small files in `state/pairing`.

    pairing/.invites/KEY.json     an invite of this node, with its secret
    pairing/NAME/site.json        a site that asked, was asked or was introduced
    pairing/NAME/run.toml         its run.toml, as it sent it

Commands and the daemon both use them, so that pairing works with the daemon up or down. peers.toml
alone says who is trusted: a site here that is not in it waits for approval.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field, ValidationError

from dcfm_node.errors import Failed
from dcfm_node.files import private_folder, read_bounded, replacing, sync
from dcfm_node.records.base import Count, Digest, Key, Model, Name, Version
from dcfm_node.records.pairing import MAX_RUN_BYTES, Card
from dcfm_node.wire.pairing import SECRET_BYTES

FOLDER, INVITES = "pairing", ".invites"
SITE_FILE, RUN_FILE = "site.json", "run.toml"
MAX_INVITES = 16
"""The most invites that are open at once."""
MAX_WAITING = 128
"""The most sites that wait for approval."""
MAX_REJECTED = 128
"""The most rejected sites that are kept. Of more, the oldest are forgotten."""
MAX_BYTES = 8_192

Kept = TypeVar("Kept", bound=Model)


class Invite(Model):
    """One site may ask to be approved, until it expires.

    Attributes:
        public: the public key that the guest dials with.
        guest: signing key of the site that used it; None while nobody did.
        told: whether the guest was answered that it is approved.
    """

    public: Digest
    secret: Annotated[bytes, Field(min_length=SECRET_BYTES, max_length=SECRET_BYTES)]
    expires_s: Count
    guest: Key | None = None
    told: bool = False


class Site(Model):
    """Another site, as this node heard of it.

    Attributes:
        introduced_by: name of the approved peer that told of it; empty if the two met by a code.
        rejected: the operator said no. It stays, so that nobody introduces it again.
        code: the code of its invite, if this node was its guest.
        approved_there: whether it said that it approved this node.
    """

    card: Card
    version: Version
    at_ms: Count
    introduced_by: Name | None = None
    rejected: bool = False
    code: Annotated[str, Field(max_length=1_024)] = ""
    approved_there: bool = False


class PairingStore:
    """The files of `state/pairing`. Any number of processes may use them.

    Args:
        state: the node's state folder.
    """

    def __init__(self, state: Path) -> None:
        self._state, self.folder = state, state / FOLDER
        self._invites = self.folder / INVITES

    def make(self) -> None:
        """Make the folders, if they do not exist."""
        self._make(self.folder)

    def sites(self) -> dict[str, Site]:
        """All sites that are kept, by name, in order.

        Raises:
            Failed: a file is damaged.
        """
        return {path.name: _load(path / SITE_FILE, Site) for path in self._folders()}

    def run_path(self, name: str) -> Path:
        """The run.toml that a site sent; it may not exist."""
        return self.folder / name / RUN_FILE

    def run(self, name: str) -> bytes:
        """The run.toml that a site sent; empty if it sent none."""
        try:
            return read_bounded(self.run_path(name), MAX_RUN_BYTES, follow=False)
        except FileNotFoundError:
            return b""

    def keep(self, site: Site, run: bytes | None = None) -> None:
        """Write what is known of a site, in place of what was.

        Args:
            run: its run.toml; empty to delete it, None to leave what is there.

        Raises:
            OSError: the disk refuses.
        """
        folder = self.folder / site.card.name
        self._make(folder)
        if run:
            self._write(folder / RUN_FILE, run)
        elif run is not None:
            (folder / RUN_FILE).unlink(missing_ok=True)
        self._write(folder / SITE_FILE, site.model_dump_json(indent=1).encode())
        if site.rejected:
            self._forget_oldest()

    def _forget_oldest(self) -> None:
        rejected = [site for site in self.sites().values() if site.rejected]
        for site in sorted(rejected, key=lambda site: -site.at_ms)[MAX_REJECTED:]:
            self.forget(site.card.name)

    def forget(self, name: str) -> None:
        """Delete what is known of a site."""
        if name in {folder.name for folder in self._folders()}:
            shutil.rmtree(self.folder / name)

    def invites(self, now_s: float) -> list[Invite]:
        """The open invites. Those that expired are deleted."""
        found = []
        for path in sorted(self._invites.glob("*.json")) if self._invites.is_dir() else ():
            try:
                invite = _load(path, Invite)
            except FileNotFoundError:
                continue  # closed meanwhile by another process
            if invite.expires_s > now_s:
                found.append(invite)
            else:
                path.unlink(missing_ok=True)
        return found[:MAX_INVITES]

    def put_invite(self, invite: Invite, now_s: float) -> None:
        """Open an invite, or note its guest.

        Raises:
            Failed: too many are open.
        """
        others = [other for other in self.invites(now_s) if other.public != invite.public]
        if len(others) >= MAX_INVITES:
            raise Failed(
                f"{MAX_INVITES} invites are open",
                where=str(self._invites),
                fix="wait until one expires, or close those of guests: 'dcfm-node peers reject'",
            )
        self._make(self._invites)
        self._write(self._path(invite.public), invite.model_dump_json().encode())

    def close_invite(self, public: bytes) -> None:
        """Nobody may use an invite any more."""
        self._path(public).unlink(missing_ok=True)

    def _path(self, public: bytes) -> Path:
        return self._invites / f"{public.hex()[:16]}.json"

    def _folders(self) -> Iterator[Path]:
        if self.folder.is_dir():
            for path in sorted(self.folder.iterdir()):
                if path.name != INVITES and (path / SITE_FILE).is_file():
                    yield path

    def _make(self, folder: Path) -> None:
        for made in (self._state, self.folder, folder):
            if not made.exists():
                private_folder(made)
                self.own(made)

    def _write(self, path: Path, data: bytes) -> None:
        with replacing(path) as scratch:
            with os.fdopen(
                os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "wb"
            ) as file:
                file.write(data)
            self.own(scratch)
            sync(scratch)

    def own(self, path: Path) -> None:
        """Give what root made to the user that runs the node."""
        if os.geteuid() == 0:
            owner = (self._state if path != self._state else self._state.parent).stat()
            os.chown(path, owner.st_uid, owner.st_gid)


def _load(path: Path, kind: type[Kept]) -> Kept:
    try:
        return kind.model_validate_json(read_bounded(path, MAX_BYTES, follow=False))
    except ValidationError as error:
        raise Failed(
            f"is damaged: {error.errors()[0]['msg'].lower()}",
            where=str(path),
            fix="delete its folder, and pair with that site again",
        ) from error
