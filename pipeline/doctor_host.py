"""Checks of this host: files and who may touch them, keystores, room on the disk."""

import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from crypto.errors import PrivMLError
from pipeline.doctor_finding import Finding
from pipeline.keystore import KeystoreError, read_header
from pipeline.parties import open_identity
from pipeline.passphrase import Passphrase
from pipeline.settings import Settings
from roles.enrolment import ENROLLED_ROLES
from roles.tenant import Tenant
from schemas.topics import Role

LEAST_FREE_BYTES = 1 << 30
"""Less room than that is found too late by a log that grows by chunks of megabytes."""
_UNITS = (Role.MU, Role.SU)


def check_settings_file(settings: Settings) -> Finding:
    """Say whether others may change what the settings pin."""
    if settings.path.stat().st_mode & stat.S_IWOTH:
        return Finding.failed(
            "settings",
            f"{settings.path} may be changed by every user of this machine",
            f"run: chmod o-w {settings.path}; then compare configuration_sha256 with the authority's",
        )
    return Finding.ok("settings", f"{settings.path} is read; tenant {settings.tenant}")


def check_passphrase(settings: Settings, file: Path | None) -> Finding:
    """Say whether there is a passphrase that only this user may read."""
    chosen = file or settings.passphrase_file
    if chosen is None:
        return Finding.skipped(
            "passphrase", "neither settings nor options name a passphrase file", "add --passphrase-file FILE"
        )
    try:
        Passphrase.from_file(chosen)
        mode = chosen.stat().st_mode
    except PrivMLError as error:
        return Finding.of_error("passphrase", error)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return Finding.failed(
            "passphrase", f"{chosen} may be read by other users of this machine", f"run: chmod 600 {chosen}"
        )
    return Finding.ok("passphrase", f"{chosen} is there, and this user's alone")


def check_keystores(settings: Settings, tenant: Tenant, file: Path | None) -> Finding:
    """Hold the keystores of this host against the configuration.

    Security:
        With the passphrase they are opened one after the other, but where both units' lie on one host
        neither unit's is: no program opens both. Of those only the headers are looked at.
    """
    found = {name: settings.keystore(name) for name in tenant.verifying if settings.keystore(name).exists()}
    if not found:
        return Finding.skipped("keystores", f"no party of the tenant has a keystore in {settings.keys}")
    units = [name for name in found if tenant.verifying[name].role in _UNITS]
    closed = set(units) if len(units) == len(_UNITS) else set()
    with_passphrase = file or settings.passphrase_file
    opened = []
    try:
        for name, path in found.items():
            _check_header(tenant, name, path)
            if with_passphrase is None or name in closed:
                continue
            identity = open_identity(
                settings, tenant, name, tenant.verifying[name].role, passphrase_file=with_passphrase
            )
            if identity.role in (*_UNITS, Role.CLIENT):
                identity.weak_key(tenant)
            opened.append(name)
    except PrivMLError as error:
        return Finding.of_error("keystores", error)
    text = f"{', '.join(found)} belong to the pinned configuration"
    looked = f"opened: {', '.join(opened) or 'none'}"
    if closed:
        looked += "; of the units the headers alone, as both lie on this host, which suits trials"
    return Finding.ok("keystores", f"{text}; {looked}")


def _check_header(tenant: Tenant, name: str, path: Path) -> None:
    header, party = read_header(path), tenant.verifying[name]
    if (header.tenant, header.party, header.role) != (tenant.name, name, party.role.value):
        raise KeystoreError(
            f"this is the keystore of {header.role} '{header.party}' of tenant '{header.tenant}'", file=path
        )
    if header.key_epoch != tenant.roster.first_key_epoch and party.role not in ENROLLED_ROLES:
        raise KeystoreError("the keystore belongs to another key epoch", file=path)


def check_disk(folders: Sequence[Path]) -> Finding:
    """Say whether there is room where the roles write."""
    rooms = {_existing(folder): shutil.disk_usage(_existing(folder)).free for folder in folders}
    least = min(rooms, key=lambda folder: rooms[folder])
    text = f"{rooms[least] / (1 << 30):.1f} GiB are free at {least}"
    if rooms[least] < LEAST_FREE_BYTES:
        return Finding.failed(
            "disk", text, "make room, or move the folder: a unit stops when nothing is left"
        )
    readonly = [str(folder) for folder in rooms if not os.access(folder, os.W_OK)]
    if readonly:
        return Finding.failed(
            "disk", f"this user may not write to {readonly[0]}", "check whose folder it is, and its mode"
        )
    return Finding.ok("disk", text)


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.resolve().parents) if path.exists())
