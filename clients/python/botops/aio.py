"""`AsyncBot`: a bot that is served on the event loop it trades on, without a thread of its own.

Handlers may be coroutines. Files are written without waiting for the disk itself: after a crash of the process nothing is
missing, after a loss of power the newest lines may be.
"""
from __future__ import annotations

import asyncio
import inspect
import os
import socket
from concurrent.futures import Future
from typing import Any, Callable, Mapping, Optional, Set

from . import connections, router
from .address import Path
from .bot import BaseBot
from .change import Apply
from .checks import Check
from .config import BotConfig
from .connections import ConnectionTable, Pace
from .http import (CONTINUE, HEAD_END, LARGEST_HEAD, HttpError, Later, Request, Response, Stream, parse_head, refusal)
from .loop import UNDER_WAY, under_way
from .told import error_text

_END_WITHIN = 2.0
_MAINTAIN_EVERY = 0.2
_ANSWERS_WITHIN = 2.0
_LOOK_EVERY = 0.005
# Orders that are joined between two turns of the event loop: some tens of microseconds.
_PIECES_AT_ONCE = 500


def _factory_of(protocol: asyncio.StreamReaderProtocol) -> Callable[[], asyncio.StreamReaderProtocol]:
    return lambda: protocol


class AsyncBot(BaseBot):
    """A bot in an asyncio program: `async with bot:`, or `await bot.serve()` as a task of its own."""

    _runs_coroutines = True
    _tasks: Optional[Set["asyncio.Task[Any]"]] = None
    _listener: Optional[socket.socket] = None
    _accepting: "Optional[asyncio.Task[Any]]" = None
    _connections: "ConnectionTable[asyncio.StreamWriter]"
    _pace: Pace
    _is_ending = False

    async def start(self) -> "AsyncBot":
        """Serves the bot on the running event loop from here on; raises nothing."""
        if self._tasks is None and not self._leave_to_program():
            self._tasks = set()
            self._connections = ConnectionTable()
            self._pace = connections.pace_of_requests()
            core = self._core
            core.syncs_files = core.commands.book.syncs = False
            core.commands.spawn = self._spawn
            if core.pid != os.getpid():
                core.begin_life()
            core.events.add({"kind": "lifecycle", "severity": "low", "message": f"{core.name} started"})
            self._listen_and_accept()
            self._keep(self._maintain())
        return self

    async def stop(self) -> None:
        """Ends serving after what waits is written; in a handler, once that is answered."""
        answer = under_way()
        if answer is not None and self._tasks is not None:
            # The handler's own answer would be waited for here, and it comes after this.
            self._core.is_stopping = True
            self._keep(self._stop_after(answer))
            return
        if self._tasks is None:
            # A second call waits for the first: the program may end after it.
            while self._is_ending:
                await asyncio.sleep(_LOOK_EVERY)
            return
        self._is_ending, own, tasks = True, asyncio.current_task(), list(self._tasks)
        try:
            await self._end()
        finally:
            # Also when it is cancelled: what waits for the disk is written, and another process can have the folder.
            for task in tasks:
                if task is not own:
                    task.cancel()
            self._core.close()
            self._is_ending = False

    async def _stop_after(self, answer: "Future[Any]") -> None:
        # This task began with the context of the handler.
        UNDER_WAY.set(None)
        await asyncio.wait({asyncio.wrap_future(answer)})
        await self.stop()

    async def _wait_for_answers(self) -> None:
        end = asyncio.get_running_loop().time() + _ANSWERS_WITHIN
        await asyncio.sleep(0)
        while self._connections.is_any_busy() and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(_LOOK_EVERY)

    async def _end(self) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is None:
            return
        self._core.state.set_phase("stopping", "the bot was stopped")
        self._core.commands.book.withdraw_all()
        if self._listener is not None:
            self._address.remove()
            await self._stop_listening()
        await self._wait_for_answers()
        if self._connections.is_any_streaming():
            # Readers of events get what was told last, such as why the bot ends.
            await asyncio.sleep(_LOOK_EVERY)
        own = asyncio.current_task()
        ending = [task for task in tasks if task is not own]
        for task in ending:
            task.cancel()
        if ending:
            # A handler that takes its cancelling for an error never ends; it must not keep the program from ending.
            await asyncio.wait(ending, timeout=_END_WITHIN)
        self._core.close()

    async def __aenter__(self) -> "AsyncBot":
        return await self.start()

    async def __aexit__(self, kind: Any, error: Optional[BaseException], trace: Any) -> None:
        self._tell_end(error)
        await self.stop()

    async def serve(self) -> None:
        """Serves until it is cancelled."""
        await self.start()
        try:
            await asyncio.Event().wait()
        finally:
            await self.stop()

    async def sleep(self, seconds: float) -> None:
        """As `asyncio.sleep`; commands are carried out meanwhile, as at every await."""
        await asyncio.sleep(seconds)

    def config(self, schema: Mapping[str, Any], values: Mapping[str, Any], *, check: Optional[Check] = None,
               apply: Optional[Apply] = None, config_dir: Optional[Path] = None) -> BotConfig:
        """As for `Bot`; `apply` is a plain function, since new values take effect between two awaits."""
        slot = super().config(schema, values, check=check, apply=apply, config_dir=config_dir)

        def run_at_once(work: Callable[[], Any]) -> bool:
            work()
            return True

        slot.run_on_loop = run_at_once
        slot.check_by(run_at_once)
        return slot

    def _is_served(self) -> bool:
        return self._tasks is not None

    def _keep(self, coroutine: Any) -> "Optional[asyncio.Task[Any]]":
        if self._tasks is None:
            coroutine.close()
            return None
        task: "asyncio.Task[Any]" = asyncio.ensure_future(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return task

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        if self._tasks is not None:
            self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._core.problems.add_failure("sdk", "internal", error_text(error), error)

    def _spawn(self, work: Callable[[], Any]) -> bool:
        rest = work()
        if inspect.isawaitable(rest):
            self._keep(rest)
        return True

    def _listen_and_accept(self) -> None:
        self._listener = listener = self._address.try_to_listen(self._core.problems)
        if listener is not None:
            listener.setblocking(False)
            self._accepting = self._keep(self._take_connections(listener))

    async def _stop_listening(self) -> None:
        """Closes the listener, once the event loop watches it no more: its number may be another file's after that."""
        accepting, listener, self._accepting, self._listener = self._accepting, self._listener, None, None
        try:
            if accepting is not None:
                accepting.cancel()
                await asyncio.wait({accepting}, timeout=_END_WITHIN)
        finally:
            if listener is not None:
                listener.close()

    async def _take_connections(self, listener: socket.socket) -> None:
        """Takes one connection a turn of the event loop. A server of asyncio takes a hundred, and the bot trades after them."""
        loop, pace = asyncio.get_running_loop(), connections.pace_of_connections()
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
            except OSError:
                # As when the process has no file descriptors left: the trading code needs them more.
                await asyncio.sleep(connections.RETRY_LISTEN)
                continue
            reader = asyncio.StreamReader(limit=LARGEST_HEAD, loop=loop)
            protocol = asyncio.StreamReaderProtocol(reader, self._accept, loop=loop)
            try:
                await loop.connect_accepted_socket(_factory_of(protocol), connection)
            except OSError:
                connection.close()
            await asyncio.sleep(pace.take_turn())

    async def _maintain(self) -> None:
        waited = 0.0
        while True:
            await asyncio.sleep(_MAINTAIN_EVERY)
            waited += _MAINTAIN_EVERY
            if waited >= connections.RETRY_LISTEN:
                waited = 0.0
                await self._look_after_socket()
            try:
                self._core.maintain()
            except Exception as error:  # it must go on: the clock of a trial depends on it
                self._core.problems.add_failure("sdk", "internal", f"maintenance: {error_text(error)}", error)

    async def _look_after_socket(self) -> None:
        if self._listener is not None and self._address.is_lost(self._core.problems):
            await self._stop_listening()
        # Not once the bot stops: what is made anew then would be there for good.
        if self._listener is None and self._tasks is not None:
            self._listen_and_accept()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._tasks is None or task is None or not self._make_room():
            writer.close()
            return
        self._connections.add(writer)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            await self._serve(reader, writer)
        except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass  # whoever asked has gone, which is not the bot's concern
        except asyncio.CancelledError:
            pass  # the bot stops; the connection is all that this task has
        finally:
            self._connections.remove(writer)
            writer.close()

    def _make_room(self) -> bool:
        """Whether one more connection is taken. Who has no token must not keep those away who have it."""
        if len(self._connections) < connections.MOST_CONNECTIONS:
            return True
        self._core.problems.add("address", "busy", "more than 32 connections at a time; some were closed")
        least = self._connections.remove_least_wanted()
        if least is None:
            return False
        least.transport.abort()
        return True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            within = connections.FIRST_REQUEST_WITHIN if self._connections.is_new(writer) else connections.IDLE
            try:
                head = await asyncio.wait_for(reader.readuntil(HEAD_END), within)
            except asyncio.LimitOverrunError:
                await self._send(writer, refusal(400, "invalid", "the head is larger than 16 KiB"), False)
                return
            try:
                request = parse_head(head[:-len(HEAD_END)])
            except HttpError as error:
                await self._send(writer, refusal(error.status, "invalid", error.message), False)
                return
            if not self._address.allows(request.headers.get("authorization", "")):
                told = refusal(401, "unauthorized", "send `Authorization: Bearer` with the token of its file")
                await self._send(writer, told, False)
                return
            self._connections.note_idle(writer)
            if request.waits_for_continue:
                writer.write(CONTINUE)
            body = await asyncio.wait_for(reader.readexactly(request.length), connections.IDLE)
            self._connections.note_busy(writer)
            wait = self._pace.take_turn()
            if wait > 0:
                await asyncio.sleep(wait)
            if self._tasks is None:
                # The bot stops: nothing is begun any more.
                return
            stream = await self._answer(writer, request, body)
            if stream is not None:
                self._connections.note_streaming(writer)
                await self._stream(writer, stream.after)
                return
            if not request.keeps_alive:
                return
            self._connections.note_idle(writer)

    async def _answer(self, writer: asyncio.StreamWriter, request: Request, body: bytes) -> Optional[Stream]:
        """Answers; a stream is returned, since it has no end."""
        answered = router.answer(self._core, request, body)
        if isinstance(answered, Stream):
            return answered
        if isinstance(answered, Later):
            # Not `wait_for`: that would cancel the command together with the wait.
            await asyncio.wait({asyncio.wrap_future(answered.done)}, timeout=answered.seconds)
            answered = answered.answer()
        await self._send(writer, answered, request.keeps_alive)
        return None

    async def _send(self, writer: asyncio.StreamWriter, response: Response, keeps_alive: bool) -> None:
        length = len(response.body) if isinstance(response.body, bytes) else response.length or 0
        self._pace.charge_bytes(length)
        await asyncio.wait_for(self._write(writer, response, keeps_alive), connections.ANSWER_WITHIN)

    async def _write(self, writer: asyncio.StreamWriter, response: Response, keeps_alive: bool) -> None:
        writer.write(response.head(keeps_alive))
        pieces = [response.body] if isinstance(response.body, bytes) else response.body
        for begin in range(0, len(pieces), _PIECES_AT_ONCE):
            writer.write(b"".join(pieces[begin:begin + _PIECES_AT_ONCE]))
            await asyncio.wait_for(writer.drain(), connections.WRITE_WITHIN)
            await asyncio.sleep(0)

    async def _stream(self, writer: asyncio.StreamWriter, seq: int) -> None:
        response = Response(200, headers={"Cache-Control": "no-store"}, content_type="text/event-stream")
        writer.write(response.head(False, is_stream=True))
        events, loop, changed = self._core.events, asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(changed.set)

        remove = events.add_waker(wake)
        try:
            while True:
                changed.clear()
                batch = events.after(seq)
                if batch:
                    seq = max(seq, batch[-1][0])
                    writer.write(b"".join(events.frame(*event) for event in batch))
                    await asyncio.wait_for(writer.drain(), connections.WRITE_WITHIN)
                    continue
                try:
                    await asyncio.wait_for(changed.wait(), connections.STREAM_ALIVE_EVERY)
                except asyncio.TimeoutError:
                    writer.write(b": alive\n\n")
                    await asyncio.wait_for(writer.drain(), connections.WRITE_WITHIN)
        finally:
            remove()

    def _become_inert(self) -> None:
        if self._tasks is None:
            self._core.renew_locks()
            return
        # The child has a copy of the event loop that does not run: nobody would answer on what it holds open, and who waits
        # for an answer would not see that the parent is gone.
        if self._listener is not None:
            self._listener.close()
        for writer in self._connections.to_list():
            self._let_go(writer)
        self._core.leave_to_parent()
        self._tasks = None
        self._core.is_inert = True

    @staticmethod
    def _let_go(writer: asyncio.StreamWriter) -> None:
        """Has this process hold the connection no more. Nothing is sent on it: the other process has it still."""
        try:
            descriptor = writer.get_extra_info("socket").fileno()
            nothing = os.open(os.devnull, os.O_RDWR)
            # Put in its place, not closed: the transport closes that number once more, when another file may have it.
            os.dup2(nothing, descriptor, inheritable=False)
            os.close(nothing)
        except (OSError, AttributeError, ValueError):
            pass
