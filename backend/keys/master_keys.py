"""Master keys encrypt the random bytes of every stored key. The newest encrypts; all of them decrypt."""

from __future__ import annotations

import base64
import binascii
import hashlib
import logging
import os
import secrets
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Protocol

from typing_extensions import override

from .errors import MasterKeyError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from pydantic import SecretStr

log = logging.getLogger(__name__)

BYTES: Final = 32
_GROUP_AND_OTHERS: Final = 0o077
_HEADER: Final = (
    "# Master keys of Patchbay, the newest first. Whoever has this file opens every stored key.\n"
)


@dataclass(frozen=True, slots=True)
class MasterKey:
    """A master key. Its repr shows the name only, and it cannot be pickled.

    Attributes:
        name: The first digits of its SHA-256, which identify the key and reveal nothing of its 256 random bits.
    """

    name: str
    secret: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> MasterKey:
        """Parse a master key.

        Raises:
            MasterKeyError: ``text`` is no master key; the message does not repeat it.
        """
        try:
            secret = base64.b64decode(text, altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != BYTES:
            raise MasterKeyError(
                "A master key is 32 bytes in base64. `python -m backend keys new` makes one."
            ) from None
        return cls(hashlib.sha256(secret).hexdigest()[:16], secret)

    @classmethod
    def new(cls) -> MasterKey:
        """Create a random master key. It is not stored yet."""
        return cls.parse(base64.urlsafe_b64encode(secrets.token_bytes(BYTES)).decode())

    def text(self) -> str:
        """The key encoded as text, in the form that `parse` reads and that the environment variable or the file holds."""
        return base64.urlsafe_b64encode(self.secret).decode()

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a master key is not pickled")


class MasterKeys(Protocol):
    """The available master keys: one or more, of which the newest encrypts and all decrypt."""

    def newest(self) -> MasterKey:
        """The newest master key, which encrypts.

        Raises:
            MasterKeyError: There is no master key.
        """
        ...

    def first(self) -> MasterKey:
        """The newest master key; creates one if there is none. Call it only while nothing is encrypted yet.

        Raises:
            MasterKeyError: There is no master key, and none can be created.
        """
        ...

    def find(self, name: str) -> MasterKey | None:
        """The master key called ``name``; None if it is no longer available.

        Raises:
            MasterKeyError: The master keys cannot be read.
        """
        ...

    def renew(self, used: Collection[str]) -> MasterKey:
        """Create a new master key, which becomes the newest.

        Args:
            used: Names of master keys that still encrypt stored data, so that they must stay available.

        Raises:
            MasterKeyError: The keys cannot be read or written.
        """
        ...


class EnvironmentMasterKeys:
    """Master keys from the environment, the newest first. The operator keeps them.

    To rotate them, put a new one in front, restart the service, and run ``keys rotate``.

    Raises:
        MasterKeyError: There is no master key, or one of them is malformed.
    """

    def __init__(self, text: SecretStr) -> None:
        self._keys = _parse(text.get_secret_value().replace(",", "\n"))

    def newest(self) -> MasterKey:
        """The first master key in the environment. See `MasterKeys.newest`."""
        return self._keys[0]

    def first(self) -> MasterKey:
        """The first master key in the environment. Never creates one, because only the operator can."""
        return self._keys[0]

    def find(self, name: str) -> MasterKey | None:
        """The master key called ``name``; None if the environment no longer has it."""
        return _find(self._keys, name)

    def renew(self, used: Collection[str]) -> MasterKey:  # noqa: ARG002 - nothing is thrown away here
        """The first master key in the environment. Creates none: the operator has put the new key in front."""
        return self._keys[0]


class MasterKeyFile:
    """Master keys in a file with mode 0600, which is created with the first key.

    The file is read again after a change, so that a running server follows a rotation by another process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_as: tuple[int, int] | None = None
        self._keys: Sequence[MasterKey] = ()
        self._fault: str | None = None

    def newest(self) -> MasterKey:
        """The newest master key in the file. See `MasterKeys.newest`."""
        return self._current()[0]

    def first(self) -> MasterKey:
        """The newest master key in the file, which is created if it is missing. See `MasterKeys.first`."""
        if not self._path.exists():
            self._write([MasterKey.new()], replace=False)
        return self.newest()

    def find(self, name: str) -> MasterKey | None:
        """The master key called ``name``; None if the file no longer has it. See `MasterKeys.find`."""
        return _find(self._current(), name)

    def renew(self, used: Collection[str]) -> MasterKey:
        """Put a new key in front. The previous key stays for concurrent writers; older keys stay only if they are in ``used``.

        Never called concurrently: the caller holds the database's write lock.
        """
        before = self._current() if used or self._path.exists() else ()
        kept = [key for place, key in enumerate(before) if place == 0 or key.name in used]
        self._write([MasterKey.new(), *kept], replace=True)
        return self.newest()

    def _current(self) -> Sequence[MasterKey]:
        try:
            found = self._path.stat()
            mark = (found.st_ino, found.st_mtime_ns)
            if mark != self._read_as:
                self._keys, self._read_as = _parse(self._path.read_text(encoding="ascii")), mark
                if found.st_mode & _GROUP_AND_OTHERS:
                    log.warning("%s is open to others than its owner: chmod 600 it", self._path)
        except (OSError, UnicodeDecodeError) as error:
            raise self._failed(f"cannot be read: {type(error).__name__}") from None
        except MasterKeyError as error:
            raise self._failed(f"cannot be understood: {error}") from None
        self._fault = None
        return self._keys

    def _failed(self, fault: str) -> MasterKeyError:
        """The error to raise. Only the log names the file, once for each fault, not the message that users see."""
        if fault != self._fault:
            log.error("the master keys in %s: the file %s", self._path, fault)
        self._fault = fault
        return MasterKeyError(
            "The file with the master keys cannot be used. The log of the server knows more."
        )

    def _write(self, keys: Sequence[MasterKey], *, replace: bool) -> None:
        """Write the file atomically, and to disk before anything is encrypted with a key of it."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile("w", dir=self._path.parent, delete=False) as file:
                file.write(_HEADER + "".join(f"{key.text()}\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            _put(Path(file.name), self._path, replace=replace)
        except OSError as error:
            raise self._failed(f"cannot be written: {error.strerror}") from None


def load_master_keys(given: SecretStr | None, path: Path) -> MasterKeys:
    """The master keys in ``given``, the value of the environment variable; if it is None, those in the file ``path``.

    Raises:
        MasterKeyError: ``given`` is not a list of master keys.
    """
    return MasterKeyFile(path) if given is None else EnvironmentMasterKeys(given)


def _put(file: Path, path: Path, *, replace: bool) -> None:
    """Move ``file``, which only its owner may read, to ``path``. Without ``replace``, an existing file wins."""
    try:
        if replace:
            file.replace(path)
        else:
            os.link(file, path)
    except FileExistsError:
        pass
    finally:
        file.unlink(missing_ok=True)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Wait until the names in ``folder`` are on disk, because data encrypted next must not outlive its master key."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _parse(text: str) -> Sequence[MasterKey]:
    lines = [line.strip() for line in text.split("\n")]
    found = tuple(MasterKey.parse(line) for line in lines if line and not line.startswith("#"))
    if not found:
        raise MasterKeyError("There is no master key. `python -m backend keys new` makes one.")
    return found


def _find(keys: Sequence[MasterKey], name: str) -> MasterKey | None:
    return next((key for key in keys if key.name == name), None)
