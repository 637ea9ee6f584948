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
    """A key that encrypts users' keys. Its repr shows the name only, and it cannot be pickled.

    Attributes:
        name: The first 16 hex digits of the SHA-256 of ``secret``.
        secret: The key: 256 random bits.
    """

    name: str
    secret: bytes = field(repr=False)

    @classmethod
    def from_text(cls, text: str) -> MasterKey:
        """Make a master key from its text form: 32 bytes in URL-safe base64.

        Raises:
            MasterKeyError: ``text`` is not a master key. The message does not repeat it.
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
    def generate(cls) -> MasterKey:
        """Generate a random master key. It is not stored anywhere."""
        return cls.from_text(base64.urlsafe_b64encode(secrets.token_bytes(BYTES)).decode())

    def to_text(self) -> str:
        """Encode the key as text for the environment variable or the key file. `from_text` reads this form."""
        return base64.urlsafe_b64encode(self.secret).decode()

    @override
    def __reduce__(self) -> NoReturn:
        raise TypeError("a master key is not pickled")


class MasterKeys(Protocol):
    """The available master keys. The newest encrypts; each can decrypt what it has encrypted."""

    def newest_key(self) -> MasterKey:
        """Return the newest master key, which is used to encrypt.

        Raises:
            MasterKeyError: There is no master key.
        """
        ...

    def get_or_create_newest_key(self) -> MasterKey:
        """Return the newest master key, or create the first one. Call this only while nothing is encrypted yet.

        Raises:
            MasterKeyError: There is no master key, and none can be created.
        """
        ...

    def find_key(self, name: str) -> MasterKey | None:
        """Return the master key with the given name; None if it is not available.

        Raises:
            MasterKeyError: The master keys cannot be read.
        """
        ...

    def rotate(self, names_in_use: Collection[str]) -> MasterKey:
        """Create a new master key, which becomes the newest.

        Args:
            names_in_use: The names of the master keys that still encrypt stored data. These keys are kept.

        Raises:
            MasterKeyError: The keys cannot be read or written.
        """
        ...


class EnvironmentMasterKeys:
    """Master keys from an environment variable, the newest first, separated by commas.

    Only the operator can change them. To rotate, the operator puts a new key in front, restarts the service,
    and runs ``keys rotate``.

    Raises:
        MasterKeyError: There is no master key, or one of them is malformed.
    """

    def __init__(self, text: SecretStr) -> None:
        self._keys = _parse(text.get_secret_value().replace(",", "\n"))

    def newest_key(self) -> MasterKey:
        """Return the newest master key: the first in the environment variable."""
        return self._keys[0]

    def get_or_create_newest_key(self) -> MasterKey:
        """Return the first master key in the environment variable. Creates none: only the operator can add a key."""
        return self._keys[0]

    def find_key(self, name: str) -> MasterKey | None:
        """Return the master key with the given name; None if the environment variable does not have it."""
        return _find(self._keys, name)

    def rotate(self, names_in_use: Collection[str]) -> MasterKey:  # noqa: ARG002 - nothing is thrown away here
        """Return the first master key in the environment variable. The operator has put a new key there before."""
        return self._keys[0]


class MasterKeyFile:
    """Master keys in a file, the newest first. The file is created with mode 0600 when the first key is needed.

    A changed file is read again, so that a running server notices a rotation by another process.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read_as: tuple[int, int] | None = None
        self._keys: Sequence[MasterKey] = ()
        self._fault: str | None = None

    def newest_key(self) -> MasterKey:
        """Return the newest master key: the first in the file.

        Raises:
            MasterKeyError: The file is missing, or cannot be read.
        """
        return self._current()[0]

    def get_or_create_newest_key(self) -> MasterKey:
        """Return the newest master key. If the file is missing, create it with a new key.

        Raises:
            MasterKeyError: The file cannot be created or read.
        """
        if not self._path.exists():
            self._write([MasterKey.generate()], replace=False)
        return self.newest_key()

    def find_key(self, name: str) -> MasterKey | None:
        """Return the master key with the given name; None if the file does not have it.

        Raises:
            MasterKeyError: The file is missing, or cannot be read.
        """
        return _find(self._current(), name)

    def rotate(self, names_in_use: Collection[str]) -> MasterKey:
        """Put a new key at the front of the file, and return it. The caller must hold the database's write lock.

        The previous key is kept, because other processes may still encrypt with it. Older keys are kept only if
        they are in use.

        Args:
            names_in_use: The names of the master keys that still encrypt stored data.

        Raises:
            MasterKeyError: The file cannot be read or written.
        """
        before = self._current() if names_in_use or self._path.exists() else ()
        kept = [key for place, key in enumerate(before) if place == 0 or key.name in names_in_use]
        self._write([MasterKey.generate(), *kept], replace=True)
        return self.newest_key()

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
                file.write(_HEADER + "".join(f"{key.to_text()}\n" for key in keys))
                file.flush()
                os.fsync(file.fileno())
            _put(Path(file.name), self._path, replace=replace)
        except OSError as error:
            raise self._failed(f"cannot be written: {error.strerror}") from None


def load_master_keys(env_value: SecretStr | None, path: Path) -> MasterKeys:
    """Load the master keys from the environment variable if it is set, else from a file.

    Args:
        env_value: The value of the environment variable; None if it is not set.
        path: The file, which is read or created when a key is first needed.

    Raises:
        MasterKeyError: ``env_value`` is not a list of master keys.
    """
    return MasterKeyFile(path) if env_value is None else EnvironmentMasterKeys(env_value)


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
    found = tuple(MasterKey.from_text(line) for line in lines if line and not line.startswith("#"))
    if not found:
        raise MasterKeyError("There is no master key. `python -m backend keys new` makes one.")
    return found


def _find(keys: Sequence[MasterKey], name: str) -> MasterKey | None:
    return next((key for key in keys if key.name == name), None)
