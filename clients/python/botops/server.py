"""Serves a bot from threads of its own. The trading code never waits for any of them."""
from __future__ import annotations

import os
import selectors
import socket
import struct
import threading
import time
from concurrent.futures import wait
from typing import List, Optional

from . import connections, router
from .address import Address
from .connections import ConnectionTable, Pace
from .core import BotCore
from .events import EventLog
from .http import (CONTINUE, HEAD_END, LARGEST_HEAD, HttpError, Later, Request, Response, Stream, parse_head, refusal)
from .loop import WakeSignal
from .told import error_text

# What one call may gather: Linux takes 1,024 pieces.
_PIECES_AT_ONCE = 1_000
# What is given to the kernel in one step of a slow reader, whose time is looked at between them.
_BYTES_AT_ONCE = 64 * 1024
_TOO_SLOW = "the answer is taken too slowly"
_LOOK_AFTER_SOCKET_EVERY = 2.0
# Files that could not be written, and a folder that another process has, are tried again this often.
_MAINTAIN_EVERY = 1.0
# A reader of events that does not take them keeps the end of the bot waiting for so long at most.
_LAST_EVENTS_WITHIN = 0.5
# The clock of a trial is looked at this often while one runs.
_TRIAL_EVERY = 0.1


class ThreadServer:
    """The threads of one bot: one that accepts, one that looks after files and clocks, one for each connection."""

    def __init__(self, core: BotCore, address: Address) -> None:
        self._core = core
        self._address = address
        self._listener: Optional[socket.socket] = None
        self._connections: "ConnectionTable[socket.socket]" = ConnectionTable()
        self._request_pace, self._connection_pace = connections.pace_of_requests(), connections.pace_of_connections()
        self._stopping = threading.Event()
        # Closing one end wakes the thread that waits for connections.
        self._woken, self._waker = socket.socketpair()
        self._threads: List[threading.Thread] = []
        self._work_for_files = WakeSignal()

    def start(self) -> None:
        """Serves from here on. Where the address is taken, it is served once it is free."""
        self._listener = self._address.try_to_listen(self._core.problems)
        for name, run in (("botops-serve", self._accept), ("botops-files", self._maintain)):
            thread = threading.Thread(target=run, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self, seconds: float) -> None:
        """Ends serving, and writes what waits."""
        self._stopping.set()
        self.wake_maintenance()
        self._core.events.wake_all()
        self._waker.close()
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        while self._connections.is_any_busy() and time.monotonic() < end:
            time.sleep(0.005)
        # Readers of events get what was told last, such as why the bot ends.
        end = min(end, time.monotonic() + _LAST_EVENTS_WITHIN)
        while self._connections.is_any_streaming() and time.monotonic() < end:
            time.sleep(0.005)
        if self._listener is not None:
            self._address.remove()
            self._listener.close()
        for connection in self._connections.to_list():
            _close(connection)

    def wake_maintenance(self) -> None:
        """Has files written soon. Waits for nothing, and may be called by a signal handler."""
        self._work_for_files.set()

    def abandon(self) -> None:
        """Lets go of all connections in a forked child: they are the parent's. Nothing is sent on them."""
        self._stopping.set()
        self._woken.close()
        self._waker.close()
        sockets = self._connections.to_list() + ([self._listener] if self._listener is not None else [])
        for one in sockets:
            one.close()
        self._listener = None

    def _maintain(self) -> None:
        while not self._stopping.is_set():
            config = self._core.config
            self._work_for_files.wait(_TRIAL_EVERY if config is not None and config.is_in_trial else _MAINTAIN_EVERY)
            try:
                self._core.maintain()
            except Exception as error:  # it must go on: the clock of a trial depends on it
                self._core.problems.add_failure("sdk", "internal", f"maintenance: {error_text(error)}", error)

    def _accept(self) -> None:
        with self._woken, selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            while not self._stopping.is_set():
                if self._listener is None:
                    if not self._stopping.wait(connections.RETRY_LISTEN):
                        self._listener = self._address.try_to_listen(self._core.problems)
                    continue
                if self._listener not in selector.get_map():
                    self._listener.setblocking(False)
                    selector.register(self._listener, selectors.EVENT_READ)
                selector.select(_LOOK_AFTER_SOCKET_EVERY)
                if self._stopping.is_set():
                    continue
                if self._address.is_lost(self._core.problems):
                    self._renew_listener(selector)
                else:
                    self._take_connections(self._listener)

    def _renew_listener(self, selector: selectors.BaseSelector) -> None:
        """Nobody can come any more to the one that there is."""
        listener, self._listener = self._listener, None
        if listener is not None:
            selector.unregister(listener)
            listener.close()
        self._listener = self._address.try_to_listen(self._core.problems)

    def _take_connections(self, listener: socket.socket) -> None:
        while not self._stopping.wait(self._connection_pace.take_turn()):
            try:
                connection, _ = listener.accept()
            except BlockingIOError:
                return
            except OSError:
                # As when the process has no file descriptors left: the trading code needs them more.
                self._stopping.wait(connections.RETRY_LISTEN)
                return
            if not self._make_room():
                connection.close()
                continue
            self._connections.add(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), name="botops-connection", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no thread is left
                self._connections.remove(connection)
                connection.close()
                self._core.problems.add("address", "busy", str(error))

    def _make_room(self) -> bool:
        """Whether one more connection is taken. Who has no token must not keep those away who have it."""
        if len(self._connections) < connections.MOST_CONNECTIONS:
            return True
        self._core.problems.add("address", "busy", "more than 32 connections at a time; some were closed")
        least = self._connections.remove_least_wanted()
        if least is None:
            return False
        # Its own thread closes it once this has woken it.
        _shut(least)
        return True

    def _serve(self, connection: socket.socket) -> None:
        try:
            _Connection(self._core, self._address, connection, self._stopping, self._connections, self._request_pace).run()
        except (OSError, ValueError):
            pass  # whoever asked has gone, which is not the bot's concern
        except Exception as error:
            self._core.problems.add_failure("sdk", "internal", f"a connection: {error_text(error)}", error)
        finally:
            self._connections.remove(connection)
            _close(connection)


class _Connection:
    """One connection: requests, one after the other."""

    def __init__(self, core: BotCore, address: Address, connection: socket.socket, stopping: threading.Event,
                 table: "ConnectionTable[socket.socket]", pace: Pace) -> None:
        self._core, self._address, self._connection, self._stopping = core, address, connection, stopping
        self._table, self._pace = table, pace
        self._buffer = b""
        # When a connection that has shown no token yet is closed, however slowly it sends.
        self._first_by: Optional[float] = time.monotonic() + connections.FIRST_REQUEST_WITHIN

    def run(self) -> None:
        while not self._stopping.is_set():
            head = self._read_until(HEAD_END)
            if head is None:
                return
            try:
                request = parse_head(head)
            except HttpError as error:
                self._send(refusal(error.status, "invalid", error.message), False)
                return
            if not self._address.allows(request.headers.get("authorization", "")):
                self._send(refusal(401, "unauthorized", "send `Authorization: Bearer` with the token of its file"), False)
                return
            if self._first_by is not None:
                self._first_by = None
                self._table.note_idle(self._connection)
                _limit_waits(self._connection, connections.IDLE)
            if request.waits_for_continue:
                self._connection.sendall(CONTINUE)
            body = self._read(request.length)
            if body is None:
                return
            self._table.note_busy(self._connection)
            if self._stopping.wait(self._pace.take_turn()):
                return
            is_last = self._answer(request, body)
            if is_last:
                return
            self._table.note_idle(self._connection)

    def _answer(self, request: Request, body: bytes) -> bool:
        """Answers, and says whether that was the last answer on this connection."""
        answered = router.answer(self._core, request, body)
        if isinstance(answered, Stream):
            self._table.note_streaming(self._connection)
            self._stream(answered)
            return True
        if isinstance(answered, Later):
            wait([answered.done], answered.seconds)
            answered = answered.answer()
        self._send(answered, request.keeps_alive)
        return not request.keeps_alive

    def _read_until(self, mark: bytes) -> Optional[bytes]:
        while mark not in self._buffer:
            if len(self._buffer) > LARGEST_HEAD:
                self._send(refusal(400, "invalid", "the head is larger than 16 KiB"), False)
                return None
            if self._first_by is not None:
                left = self._first_by - time.monotonic()
                if left <= 0:
                    return None
                _limit_waits(self._connection, left)
            received = self._connection.recv(65_536)
            if not received:
                return None
            self._buffer += received
        found, _, self._buffer = self._buffer.partition(mark)
        return found

    def _read(self, length: int) -> Optional[bytes]:
        parts, have = [self._buffer], len(self._buffer)
        while have < length:
            received = self._connection.recv(65_536)
            if not received:
                return None
            parts.append(received)
            have += len(received)
        whole = b"".join(parts)
        self._buffer = whole[length:]
        return whole[:length]

    def _send(self, response: Response, keeps_alive: bool) -> None:
        head = response.head(keeps_alive)
        if isinstance(response.body, bytes):
            self._pace.charge_bytes(len(response.body))
            _send_bytes(self._connection, head + response.body, time.monotonic() + connections.ANSWER_WITHIN)
            return
        self._pace.charge_bytes(response.length or 0)
        # The kernel gathers the pieces while the trading loop has the interpreter; one call for each thousand.
        pieces, end = [head, *response.body], time.monotonic() + connections.ANSWER_WITHIN
        for begin in range(0, len(pieces), _PIECES_AT_ONCE):
            _send_pieces(self._connection, pieces[begin:begin + _PIECES_AT_ONCE], end)

    def _stream(self, stream: Stream) -> None:
        response = Response(200, headers={"Cache-Control": "no-store"}, content_type="text/event-stream")
        self._connection.sendall(response.head(False, is_stream=True))
        events = self._core.events
        arrived = WakeSignal()
        remove = events.add_waker(arrived.set)
        try:
            self._send_events(events, stream.after, arrived)
        finally:
            remove()

    def _send_events(self, events: EventLog, seq: int, arrived: WakeSignal) -> None:
        while True:
            batch = events.after(seq)
            if batch:
                seq = max(seq, batch[-1][0])
                self._connection.sendall(b"".join(events.frame(*event) for event in batch))
                continue
            if self._stopping.is_set():
                return
            if not arrived.wait(connections.STREAM_ALIVE_EVERY):
                self._connection.sendall(b": alive\n\n")


def _limit_waits(connection: socket.socket, read_within: float) -> None:
    """Limits how long a read or a write may take, by the kernel where it can: Python's own limit asks it twice a call."""
    if os.name == "nt":
        connection.settimeout(read_within)
        return
    connection.settimeout(None)
    for option, seconds in ((socket.SO_RCVTIMEO, read_within), (socket.SO_SNDTIMEO, connections.WRITE_WITHIN)):
        # At least a moment: zero would be no limit at all.
        whole, part = divmod(max(1_000, int(seconds * 1_000_000)), 1_000_000)
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", whole, part))


def _send_pieces(connection: socket.socket, pieces: List[bytes], end: float) -> None:
    """Sends them until `end` by the monotonic clock. Raises OSError when that is too late."""
    if not hasattr(connection, "sendmsg"):
        _send_bytes(connection, b"".join(pieces), end)
        return
    if time.monotonic() > end:
        raise socket.timeout(_TOO_SLOW)
    sent = connection.sendmsg(pieces)
    for index, piece in enumerate(pieces):
        if sent < len(piece):
            # A signal or the limit cut it short.
            _send_bytes(connection, b"".join([piece[sent:], *pieces[index + 1:]]), end)
            return
        sent -= len(piece)


def _send_bytes(connection: socket.socket, content: bytes, end: float) -> None:
    rest = memoryview(content)
    while rest:
        rest = rest[connection.send(rest[:_BYTES_AT_ONCE]):]
        if rest and time.monotonic() > end:
            raise socket.timeout(_TOO_SLOW)


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _close(connection: socket.socket) -> None:
    _shut(connection)
    connection.close()
