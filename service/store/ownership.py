"""One process alone owns an SQLite file: a lock of the operating system beside it says which.

The lock goes with its process, however that ends, so none is ever left behind.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.store.errors import Owned, Unavailable


def lock_of(file: Path) -> Path:
    """Return the lock file that stands beside a database."""
    return file.with_name(f"{file.name}.lock")


@contextmanager
def owned(file: Path) -> Iterator[None]:
    """Own the database until the block is left.

    Raises:
        Owned: another process does.
        Unavailable: the lock cannot be written.
    """
    lock = lock_of(file)
    try:
        held = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise Unavailable(
            f"cannot write {lock} ({error.strerror}); choose a folder that can be written with "
            "--home or RULESMITH_HOME"
        ) from error
    try:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Owned(file, os.read(held, 32).decode("ascii", "replace").strip()) from error
        os.truncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        # The file stays: were it removed, two processes could hold locks on two files of a name.
        os.close(held)
