"""Where a bot is reached: a Unix socket that its owner alone may use, or a port of a private address with a token.

Whoever may connect may give commands. The folder of the socket is made for its owner alone (0700), the socket file too
(0600); a port takes only who knows the token of a file.
"""
from __future__ import annotations

import contextlib
import hmac
import ipaddress
import os
import pathlib
import re
import secrets
import socket
import stat
import struct
import time
from typing import Iterator, Optional, Tuple, Union

from .durable import make_private_folder
from .problems import ProblemLog

DEFAULT_SOCKET = "botops-data/ipc/bot.sock"
# The settings of botops that say where the bot is, for a bot that is told nothing else.
SOCKET_SETTING = "BOT_IPC_SOCKET"
URL_SETTING = "BOT_IPC_URL"
TOKEN_SETTING = "BOT_IPC_TOKEN_FILE"
# What a name of a socket has room for on Linux, and on macOS.
_LONGEST_PATH = 103
Path = Union[str, "os.PathLike[str]"]
_HOST_PORT = re.compile(r"(?:(?:tcp|http)://)?(\[[0-9a-fA-F:]+\]|[A-Za-z0-9.-]+):([0-9]{1,5})/?")
_BACKLOG = 64
_NEAR = [ipaddress.ip_network(network) for network in
         ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")]
_SHORTEST_TOKEN = 16


# What to do where another process has what is this bot's.
END_IT = "End the other process (`ps -p` with its number says what it is), or give this bot an `address` and a `data_dir` of its own"


class AddressInUse(OSError):
    """Another process answers there; it is left alone."""


class Address:
    """Where a bot is reached. Made once; raises ValueError for what cannot be an address."""

    def __init__(self, given: Optional[Path], token_file: Optional[Path]) -> None:
        if given is None:
            given = os.environ.get(SOCKET_SETTING) or os.environ.get(URL_SETTING) or DEFAULT_SOCKET
            token_file = token_file or os.environ.get(TOKEN_SETTING) or None
        text = os.fspath(given)
        tcp = _HOST_PORT.fullmatch(text)
        self.host_port: Optional[Tuple[str, int]] = None
        self.path: Optional[pathlib.Path] = None
        self.token: Optional[bytes] = None
        self._inode: Optional[Tuple[int, int]] = None
        if tcp:
            self._take_port(tcp.group(1).strip("[]"), int(tcp.group(2)))
            if token_file is None:
                raise ValueError("a port needs `token_file`: who knows the token may give commands")
            self.token = read_token(pathlib.Path(os.fspath(token_file)))
            return
        if not hasattr(socket, "AF_UNIX"):
            raise ValueError("this Python has no Unix sockets: give `address=\"127.0.0.1:9100\"` and `token_file`")
        self.path = pathlib.Path(text.replace("unix:", "", 1) if text.startswith("unix:") else text).absolute()
        if max(len(os.fsencode(path)) for path in (self.path, self._unfinished())) > _LONGEST_PATH:
            raise ValueError(f"the path of the socket is too long ({_LONGEST_PATH} bytes at most): {self.path}")

    def _take_port(self, host: str, port: int) -> None:
        host = "127.0.0.1" if host == "localhost" else host
        try:
            # An IPv4 address in the form of an IPv6 one is what the kernel takes it for: `::ffff:0:0` is all of them.
            host = str(_canonical(ipaddress.ip_address(host)))
            is_near = _is_near(ipaddress.ip_address(host))
        except ValueError:
            is_near = False
        if not is_near or port > 65_535:
            raise ValueError("a bot is served on an address of this machine (127.0.0.1, ::1) or of a private network, "
                             f"not on {host}:{port}")
        self.host_port = (host, port)

    def __str__(self) -> str:
        if self.host_port is not None:
            host, port = self.host_port
            return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return str(self.path)

    def data_folder(self, bot_id: str) -> pathlib.Path:
        """The bot's own folder where none is given: beside its socket."""
        parent = self.path.parent if self.path is not None else pathlib.Path(DEFAULT_SOCKET).absolute().parent
        return parent / f"{bot_id}-data"

    def allows(self, authorization: str) -> bool:
        """Whether a request with this header may pass."""
        if self.token is None:
            return True
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode("latin-1", "replace"), self.token)

    def _unfinished(self) -> pathlib.Path:
        assert self.path is not None
        return self.path.with_name(f".{self.path.name[:8]}.{os.getpid() % 100_000}")

    def listen(self) -> socket.socket:
        """A socket that listens. Raises `AddressInUse` where another process answers, and OSError."""
        if self.host_port is not None:
            return self._listen_on_port(self.host_port)
        assert self.path is not None
        self._inode = None
        make_private_folder(self.path.parent)
        with _locked(self.path) as is_locked:
            # Two that start at once would both find nobody there, and the second would take the name from the first.
            is_served, pid = (True, None) if not is_locked else _who_answers(self.path)
            if is_served:
                raise AddressInUse(f"{other_process(pid)} serves {self.path}")
            return self._listen_on_socket(self.path)

    def try_to_listen(self, problems: ProblemLog) -> Optional[socket.socket]:
        """A socket that listens; `None`, with the reason noted, where that cannot be: it is tried again then."""
        try:
            listener = self.listen()
        except AddressInUse as error:
            problems.add_aloud("address", "in_use", f"{error}; it is waited for. {END_IT}")
            return None
        except OSError as error:
            problems.add_aloud("address", "unusable", f"the bot is not served: {error}; it is tried again")
            return None
        if self.open_to_others():
            said = f"other users may enter the folder of the socket {self}: chmod 700 that folder"
            problems.add("address", "open_folder", said)
        return listener

    def _listen_on_socket(self, path: pathlib.Path) -> socket.socket:
        unfinished = self._unfinished()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            unfinished.unlink() if unfinished.exists() or unfinished.is_symlink() else None
            listener.bind(str(unfinished))
            # Private before anybody can connect: it listens only after this, and gets its name at the end.
            os.chmod(unfinished, 0o600)
            listener.listen(_BACKLOG)
            os.replace(unfinished, path)
            file = os.stat(path)
            self._inode = (file.st_dev, file.st_ino)
        except OSError:
            listener.close()
            raise
        return listener

    def _listen_on_port(self, host_port: Tuple[str, int]) -> socket.socket:
        family = socket.AF_INET6 if ":" in host_port[0] else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            if os.name == "nt":
                listener.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE"), 1)
            else:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(host_port)
            listener.listen(_BACKLOG)
        except OSError as error:
            listener.close()
            raise AddressInUse(f"{self} cannot be served: {error}") from error
        self.host_port = (host_port[0], listener.getsockname()[1])
        return listener

    def remove(self) -> None:
        """Takes the socket's file away, if it is still the one that was made here."""
        if self.path is None or self._inode is None:
            return
        try:
            file = os.stat(self.path)
            if (file.st_dev, file.st_ino) == self._inode:
                self.path.unlink()
        except OSError:
            pass
        self._inode = None

    def is_in_place(self) -> bool:
        """Whether the socket's file is still the one that was made here: without it nobody can connect any more."""
        if self.path is None or self._inode is None:
            return True
        try:
            file = os.stat(self.path)
        except FileNotFoundError:
            return False
        except OSError:
            return True
        return (file.st_dev, file.st_ino) == self._inode

    def is_lost(self, problems: ProblemLog) -> bool:
        """Whether the socket's file was removed or replaced, which is noted: it is listened for anew then."""
        is_lost = not self.is_in_place()
        if is_lost:
            problems.add("address", "removed", f"the socket {self} was removed; it is made anew")
        return is_lost

    def open_to_others(self) -> bool:
        """Whether other users may enter the socket's folder."""
        if self.path is None or os.name == "nt":
            return False
        try:
            return bool(os.stat(self.path.parent).st_mode & 0o077)
        except OSError:
            return False


def _canonical(address: Union[ipaddress.IPv4Address, ipaddress.IPv6Address]
               ) -> Union[ipaddress.IPv4Address, ipaddress.IPv6Address]:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _is_near(address: Union[ipaddress.IPv4Address, ipaddress.IPv6Address]) -> bool:
    # As botops has it; on the way to any other address the token would be read, since there is no TLS.
    return address.is_loopback or any(address in network for network in _NEAR if network.version == address.version)


@contextlib.contextmanager
def _locked(path: pathlib.Path, seconds: float = 0.0) -> Iterator[bool]:
    """Keeps others from making the file of this path meanwhile; False where another process is at it for too long."""
    lock = path.with_name(path.name + ".lock")
    end = time.monotonic() + seconds
    with open(os.open(lock, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0) as file:
        is_locked = _lock(file.fileno())
        while not is_locked and time.monotonic() < end:
            time.sleep(0.01)
            is_locked = _lock(file.fileno())
        try:
            yield is_locked
        finally:
            # By hand: a child that was forked meanwhile has the same open file, and would keep the lock.
            _unlock(file.fileno())


def _lock(descriptor: int) -> bool:
    if os.name != "nt":
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError:
            pass  # a disk without locks: it is done without
    return True


def _unlock(descriptor: int) -> None:
    if os.name != "nt":
        import fcntl

        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)


def _who_answers(path: pathlib.Path) -> Tuple[bool, Optional[int]]:
    """Whether a process listens on this socket, and which one, where the system tells it."""
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise OSError(f"{path} is not a socket; it is not replaced")
    except FileNotFoundError:
        return False, None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        # A Unix socket says at once whether anybody listens; one whose queue is full has a listener.
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False, None
        except OSError:
            return True, None
        return True, _listening_process(probe)


def _listening_process(connection: socket.socket) -> Optional[int]:
    """The process at the other end of a connection, which is the one that listened; Linux alone tells it."""
    kind = getattr(socket, "SO_PEERCRED", None)
    if kind is None:
        return None
    try:
        pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, kind, struct.calcsize("3i")))
    except (OSError, struct.error):
        return None
    # One of another namespace is seen as 0.
    return pid if pid > 0 else None


def other_process(pid: Optional[int]) -> str:
    """Another process in words, with its number where that is known."""
    return "another process" if pid is None else f"another process ({pid})"


def read_token(path: pathlib.Path) -> bytes:
    """The token of a file; one is made where there is none. Raises ValueError for a file that others may read."""
    try:
        if not _has_content(path):
            make_private_folder(path.parent)
            _make_token(path)
    except OSError as error:
        raise ValueError(f"the token file {path} cannot be made: {error}") from error
    try:
        if os.name != "nt" and os.stat(path).st_mode & 0o077:
            raise ValueError(f"others may read the token file {path}: chmod 600 {path}")
        token = path.read_bytes().strip()
    except OSError as error:
        raise ValueError(f"the token file {path} cannot be read: {error}") from error
    if len(token) < _SHORTEST_TOKEN:
        raise ValueError(f"the token in {path} has fewer than {_SHORTEST_TOKEN} characters")
    return token


def _has_content(path: pathlib.Path) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def _make_token(path: pathlib.Path) -> None:
    """Makes the file, unless another process has just done so. It has its name only once it is whole."""
    with _locked(path, 2.0):
        if _has_content(path):
            return
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        with contextlib.suppress(FileNotFoundError):
            unfinished.unlink()
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_urlsafe(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
