"""Exports attempts to CSV files, and to Parquet where pyarrow is installed. Only the files' owner may read them."""

from __future__ import annotations

import csv
import os
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Boolean, Integer, SmallInteger

from backend.database.ledger_tables import ATTEMPTS, COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    Write = Callable[[Sequence[tuple[Any, ...]]], object]

_TYPES = ((BigInteger, "int64"), (SmallInteger, "int16"), (Integer, "int32"), (Boolean, "bool_"))


class MissingPackageError(Exception):
    """The export needs a package that is not installed; the message names it."""

    code = "missing_package"


@contextmanager
def open_csv_file(path: Path) -> Iterator[Write]:
    """Open the CSV file ``path``, and yield a function that writes rows. The file appears only when it is complete.

    Unknown values are empty, and true is ``True``. A spreadsheet may read texts as formulas: they are not escaped.

    Raises:
        OSError: The file cannot be written.
    """
    with _whole(path) as file, os.fdopen(os.dup(file.fileno()), "w", encoding="utf-8", newline="") as text:
        writer = csv.writer(text)
        writer.writerow(COLUMNS)
        yield writer.writerows


@contextmanager
def open_parquet_file(path: Path) -> Iterator[Write]:
    """Open the Parquet file ``path``, and yield a function that writes rows. The file appears only when it is complete.

    Raises:
        MissingPackageError: pyarrow is not installed.
        OSError: The file cannot be written.
    """
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise MissingPackageError("Parquet needs the package pyarrow: pip install pyarrow") from None
    schema = pa.schema([(name, getattr(pa, _type(name))()) for name in COLUMNS])

    def write(rows: Sequence[tuple[Any, ...]]) -> None:
        columns = zip(*rows, strict=True)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
        writer.write_batch(pa.record_batch(arrays, schema=schema))

    with _whole(path) as file, parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        yield write


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """A file that replaces ``path`` at the end; if ``path`` is no regular file, such as a pipe, that itself."""
    part = path.with_name(f"{path.name}.part") if path.is_file() or not path.exists() else path
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        try:
            yield file
        except BaseException:
            if part != path:
                with suppress(OSError):
                    part.unlink()
            raise
    if part != path:
        part.replace(path)


def _type(name: str) -> str:
    kind = ATTEMPTS.c[name].type
    return next((arrow for sql, arrow in _TYPES if isinstance(kind, sql)), "string")
