"""As much of HTTP/1.1 as the contract needs. Nothing here reads from or writes to a connection."""
from __future__ import annotations

import json
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Union
from urllib.parse import parse_qsl, unquote

LARGEST_HEAD = 16 * 1024
# A config document has at most 256 KiB; escaped inside of JSON it may need more than twice that.
LARGEST_BODY = 1024 * 1024
# Reading JSON holds the interpreter: a megabyte of brackets for tens of milliseconds, which the trading loop would wait.
LARGEST_COMMAND = 64 * 1024
_MOST_DIGITS = 18
HEAD_END = b"\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_PHRASES = {200: "OK", 304: "Not Modified", 400: "Bad Request", 401: "Unauthorized", 404: "Not Found",
            405: "Method Not Allowed", 409: "Conflict", 411: "Length Required", 413: "Content Too Large",
            422: "Unprocessable Content", 429: "Too Many Requests", 500: "Internal Server Error",
            503: "Service Unavailable", 504: "Gateway Timeout"}


class HttpError(Exception):
    """A request that cannot be read; the connection is closed after the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Request(NamedTuple):
    """A request without its body."""

    method: str
    path: str
    query: Dict[str, str]
    headers: Dict[str, str]

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return int(self.headers.get("content-length", "0"))

    @property
    def keeps_alive(self) -> bool:
        """Whether the connection stays for another request."""
        return self.headers.get("connection", "").lower() != "close"

    @property
    def waits_for_continue(self) -> bool:
        """Whether the sender waits before it sends the body."""
        return self.headers.get("expect", "").lower() == "100-continue"


class Response(NamedTuple):
    """An answer. A large body comes in pieces, with the number of their bytes: joining them would hold the interpreter."""

    status: int
    body: Union[bytes, List[bytes]] = b""
    headers: Dict[str, str] = {}
    content_type: str = "application/json"
    length: Optional[int] = None

    def head(self, keeps_alive: bool, is_stream: bool = False) -> bytes:
        """Its status line and headers; a stream has no length and ends with its connection."""
        lines = [f"HTTP/1.1 {self.status} {_PHRASES.get(self.status, 'Unknown')}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.status != 304:
            lines.append(f"Content-Type: {self.content_type}")
        if not is_stream:
            lines.append(f"Content-Length: {len(self.body) if self.length is None else self.length}")
        lines.append("Connection: " + ("keep-alive" if keeps_alive and not is_stream else "close"))
        return "\r\n".join(lines).encode("latin-1", "replace") + HEAD_END


class Later(NamedTuple):
    """An answer that another thread or a task is about to give."""

    done: Any
    seconds: float
    answer: Callable[[], Response]


class Stream(NamedTuple):
    """The stream of events, after this number."""

    after: int


def parse_head(head: bytes) -> Request:
    """The request of a head, without the empty line at its end. Raises `HttpError`."""
    lines = head.decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise HttpError(400, "the request line is not HTTP/1.1")
    headers: Dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or (name == "content-length" and name in headers):
            raise HttpError(400, "a header is not understood")
        headers[name] = value.strip()
    if "transfer-encoding" in headers:
        raise HttpError(411, "send the body with its Content-Length")
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        raise HttpError(400, "the Content-Length is no number")
    target, _, query = parts[1].partition("?")
    path = unquote(target)
    largest = LARGEST_COMMAND if "/commands/" in path else LARGEST_BODY
    # The digits first: Python refuses to read some thousands of them, and takes long for less.
    if len(length) > _MOST_DIGITS or int(length) > largest:
        raise HttpError(413, f"the body has more than {largest // 1024} KiB")
    return Request(parts[0], path, dict(parse_qsl(query)), headers)


def json_response(value: Any, status: int = 200) -> Response:
    """A value as an answer."""
    return Response(status, json.dumps(value, default=str).encode("utf-8", "replace"))


def refusal(status: int, code: str, message: str, context: Any = None) -> Response:
    """A refusal in the contract's form; with a 4xx it promises that nothing was done."""
    value: Dict[str, Any] = {"code": code, "message": message[:300]}
    if context is not None:
        value["context"] = context
    return json_response(value, status)


def parse_body(body: bytes) -> Any:
    """A body as JSON. Raises `HttpError`."""
    try:
        return json.loads(body or b"{}")
    except ValueError as error:
        raise HttpError(400, f"the body is not JSON: {error}") from None
