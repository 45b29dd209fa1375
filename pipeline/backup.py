"""One party's keystore and state as one encrypted file, and back.

The file has the keystore's construction, under the same passphrase: whoever has it and the passphrase is the
party. A backup is taken while the party does not run, under the lock that keeps two of it from running.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from pipeline.errors import PipelineError, StorageError
from pipeline.high_water import Mark
from pipeline.keystore import FileKind, Keystore, KeystoreError, KeystoreHeader
from pipeline.passphrase import Passphrase
from pipeline.private_file import read_private, write_private
from pipeline.process_lock import sole_process
from pipeline.rounds import PARTITIONS
from pipeline.seen_configuration import FILE as SEEN_FILE
from pipeline.session_ledger import SessionLedger
from pipeline.settings import Settings
from pipeline.shard import LEDGERS, LOCK_FILE, WHOLE
from pipeline.transport import Transport
from pipeline.unit_process import INDEX_FILE
from schemas.reasons import ReasonCode
from schemas.topics import Role, TopicName, topic_name

_KEYSTORE = "keystore"
_MAX_KEYSTORE_BYTES = 16 << 20
_DATABASES = {Role.MU: INDEX_FILE, Role.SU: LEDGERS}


class BackupFile(Keystore):
    """A backup: the content of files by their names in the state folder, and the keystore's."""

    __slots__ = ()

    kind = FileKind("backup", b"privml-backup/1\n", 1 << 30, "check the path of the backup")


class StaleBackupError(PipelineError):
    """The party has gone on since the backup was made."""

    code = ReasonCode.LOG_ROLLED_BACK


class BackupTargetError(PipelineError):
    """Something is there already where a backup would be restored."""

    code = ReasonCode.INVALID_CONFIG


def make_backup(settings: Settings, keystore: Path, file: Path, passphrase: Passphrase) -> KeystoreHeader:
    """Write a party's backup, mode 0600; an existing file is never replaced.

    Args:
        settings: Where the party's state lies.
        keystore: The party's.
        file: The backup.
        passphrase: Of the keystore; seals the backup as well.

    Returns:
        Whose backup it is.

    Raises:
        AlreadyRunningError: The party runs.
        KeystoreError: Keystore or backup cannot be read or written.
        StorageError: State cannot be read.
    """
    header = Keystore.open(keystore, passphrase).header
    with _stopped(settings, header):
        content = {_KEYSTORE: read_private(keystore, _MAX_KEYSTORE_BYTES)}
        try:
            content |= _state(settings, header)
        except (OSError, sqlite3.Error) as error:
            raise StorageError("the state cannot be read", file=settings.state) from error
        BackupFile.create(file, header, content, passphrase)
    return header


def open_backup(settings: Settings, file: Path, passphrase: Passphrase) -> BackupFile:
    """Open a backup of this tenant.

    Raises:
        KeystoreError: It is damaged, or of another tenant or key epoch.
        WrongPassphraseError: It is sealed under another passphrase.
    """
    backup = BackupFile.open(file, passphrase)
    if (backup.header.tenant, backup.header.key_epoch) != (settings.tenant, settings.key_epoch):
        raise KeystoreError(f"this is a backup of tenant '{backup.header.tenant}'", file=file)
    return backup


async def restore(settings: Settings, transport: Transport, keystore: Path, backup: BackupFile) -> list[Path]:
    """Put a backup's files back where they were; return them.

    Nothing that exists is replaced, and the keystore comes last: without it the party cannot start.

    Raises:
        BackupTargetError: A file is there already.
        StaleBackupError: SU has replied since the backup was made: with this ledger it could answer
            another request under the same step.
        StorageError: A file cannot be written.
    """
    header = backup.header
    with _stopped(settings, header):
        targets = {
            keystore if name == _KEYSTORE else settings.state / name: content
            for name, content in sorted(backup.secrets.items(), key=lambda item: item[0] == _KEYSTORE)
        }
        existing = [path for path in targets if path.exists() and path.name != SEEN_FILE]
        if existing:
            raise BackupTargetError(
                "a file of the backup exists and is not replaced",
                hint="move it away, if it is really to be given up",
                file=existing[0],
            )
        if header.role == Role.SU:
            await _refuse_stale(settings, transport, backup.secrets)
        written = []
        for path, content in targets.items():
            if path.exists():
                # What this host has seen is never forgotten.
                continue
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_private(path, content, exclusive=True)
            except OSError as error:
                raise StorageError(
                    f"cannot be written: {os.strerror(error.errno or 0)}", file=path
                ) from error
            written.append(path)
        return written


async def _refuse_stale(settings: Settings, transport: Transport, content: Mapping[str, bytes]) -> None:
    """Hold the ledgers in a backup of SU against what SU has put on its topic.

    Of a partition that none of them knows, another host keeps the ledger.
    """
    ledgers = [value for name, value in content.items() if Path(name).match(LEDGERS)]
    known = dict.fromkeys(() if ledgers else PARTITIONS, 0)
    for ledger in ledgers:
        for mark in _marks(settings.state, ledger):
            if mark.topic == TopicName.ROUND_REPLIES:
                known[mark.partition] = max(mark.next_offset, known.get(mark.partition, 0))
    name = topic_name(settings.tenant, TopicName.ROUND_REPLIES)
    for partition, replied in known.items():
        if await transport.end_offset(name, partition) > replied:
            raise StaleBackupError(
                "SU has replied since this backup was made",
                hint="restore the one made when SU had stopped last; an older one could answer a step twice",
            )


def _marks(folder: Path, ledger: bytes) -> list[Mark]:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".ledger.backup"
    try:
        path.unlink(missing_ok=True)
        write_private(path, ledger, exclusive=True)
        with closing(SessionLedger(path)) as opened:
            return opened.marks()
    except OSError as error:
        raise StorageError("the state folder cannot be written", file=folder) from error
    finally:
        for left in folder.glob(f"{path.name}*"):
            left.unlink()


def _state(settings: Settings, header: KeystoreHeader) -> dict[str, bytes]:
    content: dict[str, bytes] = {}
    databases = settings.state.glob(_DATABASES[role]) if (role := Role(header.role)) in _DATABASES else ()
    for path in (settings.state / SEEN_FILE, *databases):
        if path.exists():
            with closing(sqlite3.connect(path)) as connection:
                content[path.name] = connection.serialize()
    if header.role == Role.OWNER:
        outbox = settings.state / f"outbox-{header.party}"
        for path in sorted(outbox.iterdir()) if outbox.is_dir() else ():
            content[f"{outbox.name}/{path.name}"] = path.read_bytes()
    return content


@contextmanager
def _stopped(settings: Settings, header: KeystoreHeader) -> Iterator[None]:
    """Keep the party from running meanwhile."""
    who = f"{header.role} '{header.party}'"
    if header.role == Role.SU:
        lock = sole_process(settings.state / LOCK_FILE, who, WHOLE.partitions)
    else:
        name = f"outbox-{header.party}" if header.role == Role.OWNER else header.role
        lock = sole_process(settings.state / f"{name}.lock", who)
    with lock:
        yield
