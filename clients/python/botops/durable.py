"""Files that outlive the process: replaced whole, or appended to line by line, and owned by one process at a time."""
from __future__ import annotations

import contextlib
import os
import pathlib
from typing import IO, Any, Iterator, List, Optional, Tuple

PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


def make_private_folder(path: pathlib.Path) -> None:
    """Makes a folder and those above it that are missing, each for its owner alone. Raises OSError."""
    for folder in [*reversed(path.parents), path]:
        if not folder.is_dir():
            folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def replace_file(path: pathlib.Path, content: bytes) -> None:
    """Replaces a file whole; after a crash it has the old content or the new. Raises OSError."""
    make_private_folder(path.parent)
    new = path.with_name(path.name + ".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    _sync_folder(path.parent)


def _sync_folder(folder: pathlib.Path) -> None:
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class LineFile:
    """A file of JSON lines. A last line that a crash cut off is taken away when it is opened."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._file: Optional[IO[bytes]] = None
        # The file that was opened, also once a failure has closed it.
        self._own: Optional[Tuple[int, int]] = None

    def open(self) -> None:
        """Opens it for appending. Raises OSError."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE)
        # Without a buffer: a forked child could write what its parent had in one a second time.
        file = os.fdopen(descriptor, "r+b", buffering=0)
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            begin = max(0, end - 65_536)
            file.seek(begin)
            newline = file.read(end - begin).rfind(b"\n")
            if newline >= 0:
                end = begin + newline + 1
                break
            end = begin
        file.truncate(end)
        file.seek(0, os.SEEK_END)
        opened = os.fstat(descriptor)
        self._file, self._own = file, (opened.st_dev, opened.st_ino)

    def lines(self) -> Iterator[bytes]:
        """The lines so far, without their ends."""
        with open(self.path, "rb") as file:
            for line in file:
                yield line.rstrip(b"\n")

    def is_in_place(self) -> bool:
        """Whether the file of this name is the one that was opened: what is written to another is lost, or is not its."""
        try:
            named = os.stat(self.path)
        except FileNotFoundError:
            return self._own is None
        return self._own in (None, (named.st_dev, named.st_ino))

    def append(self, lines: List[bytes], sync: bool) -> int:
        """Adds lines and returns where the first one begins. Raises OSError, and then has added none."""
        if self._file is None:
            # An earlier failure closed it.
            self.open()
        file = self._file
        if file is None:
            raise OSError("the file is not open")
        begin = file.seek(0, os.SEEK_END)
        try:
            rest = memoryview(b"".join(line + b"\n" for line in lines))
            while rest:
                rest = rest[file.write(rest):]
            if sync:
                os.fsync(file.fileno())
        except OSError:
            # What was written of them is taken away, now or when it is opened again: then as far as a line was cut off.
            self._file = None
            file.truncate(begin)
            file.close()
            raise
        return begin

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


class DataFolder:
    """The bot's own folder, owned by one process: a second one waits until the first has ended."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path
        self._lock_file: Optional[IO[Any]] = None

    @property
    def is_owned(self) -> bool:
        """Whether this process owns it."""
        return self._lock_file is not None

    def try_to_own(self) -> bool:
        """Takes the folder if no other process has it. Raises OSError when it cannot be used at all."""
        if self._lock_file is not None:
            return True
        make_private_folder(self.path)
        file = open(self.path / "lock", "a+")
        try:
            _lock_whole(file)
        except OSError:
            file.close()
            return False
        self._lock_file = file
        with contextlib.suppress(OSError):
            # For whoever finds it locked; nothing depends on it.
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        return True

    def owner(self) -> Optional[int]:
        """The process that has the folder, as it wrote into its lock; `None` where it did not, or cannot be read."""
        try:
            written = (self.path / "lock").read_text()[:20].strip()
        except (OSError, ValueError):
            return None
        return int(written) if written.isascii() and written.isdigit() else None

    def release(self) -> None:
        """Gives the folder back."""
        if self._lock_file is not None:
            self._lock_file.close()
            self._lock_file = None


def _lock_whole(file: IO[Any]) -> None:
    if os.name == "nt":
        import msvcrt

        file.seek(0)
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
