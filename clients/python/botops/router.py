"""The contract's paths. What each call answers is decided here, once, for threads and for asyncio."""
from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Callable, Dict, Optional, Union

from .change import ConfigRefusal
from .commands import CommandError
from .config import BotConfig
from .http import HttpError, Later, Request, Response, Stream, json_response, parse_body, refusal
from .schema import parse_document
from .told import error_text
from .trades import parse_moment

if TYPE_CHECKING:
    from .core import BotCore

BASE = "/ipc/v1/"
_PAGE = 500
_LARGEST_PAGE = 5_000

Answer = Union[Response, Later, Stream]


def answer(core: "BotCore", request: Request, body: bytes) -> Answer:
    """The answer to a request. Raises nothing."""
    try:
        return _route(core, request, body)
    except HttpError as error:
        return refusal(error.status, "invalid", error.message)
    except CommandError as error:
        return refusal(error.status, error.code, error.message)
    except ConfigRefusal as error:
        return refusal(error.status, error.code, error.message, error.context)
    except RecursionError:
        # Documents are gone through before anything is done with them.
        return refusal(400, "invalid", "the body nests too deeply")
    except Exception as error:  # a fault of the SDK must cost an answer, and nothing else
        said = f"{request.method} {request.path[:200]}: {error_text(error)}"
        core.problems.add_failure("sdk", "internal", said, error)
        return refusal(500, "internal", "the SDK failed; bot.problems says how")


def _route(core: "BotCore", request: Request, body: bytes) -> Answer:
    if not request.path.startswith(BASE):
        return refusal(404, "unknown_path", "the contract has no such path")
    path = request.path[len(BASE):]
    if path.startswith("commands/"):
        return _command(core, request, path[len("commands/"):], body)
    calls = {"hello": ("GET", _hello), "state": ("GET", _state), "events": ("GET", _events), "trades": ("GET", _trades),
             "config": ("GET", _config), "config/schema": ("GET", _schema), "config/document": ("GET", _document),
             "config/check": ("POST", _check), "config/activate": ("POST", _activate), "config/commit": ("POST", _commit),
             "config/revert": ("POST", _revert)}
    method, call = calls.get(path, ("", None))
    if call is None:
        return refusal(404, "unknown_path", "the contract has no such path")
    if request.method != method:
        return refusal(405, "unknown_method", "the path takes another method")
    return call(core, request, body)


def _hello(core: "BotCore", request: Request, body: bytes) -> Response:
    return json_response(core.hello())


def _state(core: "BotCore", request: Request, body: bytes) -> Response:
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    tag = f'"{core.boot_epoch}-{core.state.seq}"'
    if tag in known:
        return Response(304, headers={"ETag": tag})
    seq, members, rest, length = core.state.read()
    members.update(core.members())
    first = ("{" + ",".join([f'"{name}":{value}' for name, value in members.items()])).encode("utf-8", "replace")
    return Response(200, [first, *rest], {"ETag": f'"{core.boot_epoch}-{seq}"'}, length=len(first) + length)


def _events(core: "BotCore", request: Request, body: bytes) -> Answer:
    return Stream(core.events.begin_after(request.headers.get("last-event-id", "")))


def _trades(core: "BotCore", request: Request, body: bytes) -> Response:
    if not core.offers_trades:
        return refusal(404, "not_capable", "this bot keeps no journal of trades")
    query = request.query
    try:
        after, limit = int(query.get("after", "0")), int(query.get("limit", str(_PAGE)))
    except ValueError:
        raise HttpError(400, "`after` and `limit` are whole numbers") from None
    begin, end = _moment(query, "from"), _moment(query, "to")
    try:
        return Response(200, core.trades.page(after, begin, end, min(max(limit, 1), _LARGEST_PAGE)))
    except OSError as error:
        core.problems.add("trades", "not_readable", str(error))
        return refusal(503, "not_readable", "the journal of trades cannot be read now")


def _moment(query: Dict[str, str], name: str) -> Optional[float]:
    if name not in query:
        return None
    at = parse_moment(query[name])
    if at is None:
        raise HttpError(400, f"`{name}` is a time as RFC 3339 with its zone")
    return at


def _command(core: "BotCore", request: Request, name: str, body: bytes) -> Answer:
    if request.method == "GET":
        if core.folder is None:
            return refusal(404, "not_capable", "this bot cannot say what became of a command")
        if not core.knows_earlier_commands:
            # Not `unknown`: that says that it was never here, and who hears it sends it again.
            return refusal(503, "not_ready", "the data folder is not this process's, or cannot be used; bot.problems says why")
        return json_response(core.commands.book.status(name))
    if request.method != "POST":
        return refusal(405, "unknown_method", "the path takes another method")
    runner = core.commands
    task, is_new = runner.submit(name, parse_body(body))

    def give() -> Response:
        said = task.answer.result() if task.answer.done() else runner.late_answer(task)
        runner.book.write_waiting()
        return json_response(said if is_new else {**said, "replayed": True})

    return Later(task.answer, runner.answer_within, give)


def _slot(core: "BotCore") -> BotConfig:
    if core.config is None:
        raise ConfigRefusal(404, "not_capable", "this bot has no config that could be changed here")
    return core.config


def _config(core: "BotCore", request: Request, body: bytes) -> Response:
    slot = _slot(core)
    slot.refresh_head()
    return json_response(slot.state())


def _schema(core: "BotCore", request: Request, body: bytes) -> Response:
    return Response(200, _slot(core).schema.text.encode(), content_type="application/schema+json")


def _document(core: "BotCore", request: Request, body: bytes) -> Response:
    return json_response(_slot(core).running_document())


def _check(core: "BotCore", request: Request, body: bytes) -> Response:
    slot = _slot(core)
    try:
        given = parse_document(body.decode())
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON: {error}") from None
    if not isinstance(given, dict) or "config" not in given:
        raise HttpError(400, "the body needs `config`")
    return json_response(slot.verdict(given["config"]))


def _verb(core: "BotCore", body: bytes, call: Callable[[BotConfig, Any], Dict[str, Any]]) -> Response:
    slot = _slot(core)
    message = parse_body(body)
    if not isinstance(message, dict):
        raise HttpError(400, "the body is a JSON object")
    return json_response(call(slot, message))


def _activate(core: "BotCore", request: Request, body: bytes) -> Response:
    return _verb(core, body, BotConfig.activate)


def _commit(core: "BotCore", request: Request, body: bytes) -> Response:
    return _verb(core, body, BotConfig.commit)


def _revert(core: "BotCore", request: Request, body: bytes) -> Response:
    return _verb(core, body, BotConfig.revert)


def state_config(slot: BotConfig, mode: str) -> str:
    """The config as the state shows it."""
    shown = slot.state()
    kept = {name: shown[name] for name in ("running", "committed", "trial", "pending_restart")}
    return json.dumps({**kept, "summary": {"mode": mode, **slot.summary()}}, default=str)
