"""Durable steps on a local file system: each either happened whole, or not at all, whatever crashes."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

IN_PROGRESS = ".inprogress"  # readers skip names that end so; a crash may leave some behind


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Errors of the operating system name the file or folder: writes and Arrow's leave it out, as of a full disk."""
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        code = error.errno or errno.EIO
        raise OSError(code, os.strerror(code) if error.errno else str(error), str(path)) from error


def temporary_beside(path: Path) -> Path:
    """A name of its own for a file that will be published as ``path``."""
    make_folder(path.parent)
    return path.with_name(temporary_name(path.name))


def temporary_name(name: str) -> str:
    """As `temporary_beside`, of a name alone."""
    return f".{name}.{uuid.uuid4().hex}{IN_PROGRESS}"


def make_folder(folder: Path) -> None:
    """Create a folder and those above it, durably: a file in a folder that a power cut forgets is lost with it."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for path in made:
        sync(path.parent)


def publish(temporary: Path, path: Path) -> None:
    """Make a finished file visible under its name, replacing what stood there."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def create_exclusive(path: Path, content: bytes, mode: int = 0o666) -> bool:
    """Create a file with its content in one step; False, and nothing changed, where the name is taken."""
    temporary = temporary_beside(path)
    try:
        descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        with naming(temporary), os.fdopen(descriptor, "wb") as file:
            file.write(content)
        sync(temporary)
        os.link(temporary, path)  # unlike rename, fails if the name exists
    except FileExistsError:
        return False
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)
    return True


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file if it is there, durably."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    sync(path.parent)
