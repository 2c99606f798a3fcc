"""A client as botops is one, and bots in folders of their own, for the tests."""
import contextlib
import http.client
import json
import pathlib
import socket
import sys
import tempfile
import time
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))
from botops import Bot  # noqa: E402


class SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("bot", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Client:
    """Calls of the contract, each on its own connection."""

    def __init__(self, address, token=None):
        self.address, self.token = str(address), token

    def connection(self):
        if self.address.startswith("/"):
            return SocketConnection(self.address)
        return http.client.HTTPConnection(self.address, timeout=20)

    def send(self, method, path, body=None, headers=None):
        """(status, headers, body as bytes)."""
        connection = self.connection()
        given = dict(headers or {})
        if self.token is not None:
            given["Authorization"] = f"Bearer {self.token}"
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        with contextlib.closing(connection):
            connection.request(method, f"/ipc/v1/{path}", content, given)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def get(self, path, **headers):
        status, _, body = self.send("GET", path, headers=headers)
        assert status == 200, (path, status, body)
        return json.loads(body)

    def post(self, path, body):
        """(status, answer)."""
        status, _, answer = self.send("POST", path, body)
        return status, json.loads(answer)

    def command(self, verb, command_id, **more):
        status, answer = self.post(f"commands/{verb}", {"command_id": command_id, "reason": "a test", **more})
        assert status == 200, (status, answer)
        return answer


class BotCase(unittest.TestCase):
    """A case with a folder of its own."""

    def setUp(self):
        home = tempfile.TemporaryDirectory()
        self.addCleanup(home.cleanup)
        self.folder = pathlib.Path(home.name)
        self.socket = self.folder / "ipc/bot.sock"
        self.client = Client(self.socket)

    def make(self, **options):
        """A bot that is not started; it is stopped at the end."""
        options.setdefault("address", self.socket)
        if not str(options["address"]).startswith("/"):
            # A port has no folder of its own: the bot's would be where the tests are run.
            options.setdefault("data_dir", self.folder / "data")
        bot = Bot("tested", mode="paper", **options)
        self.addCleanup(bot.stop)
        return bot

    def until(self, look, what="it"):
        """What `look` returns once it is true."""
        end = time.monotonic() + 20
        while time.monotonic() < end:
            seen = look()
            if seen:
                return seen
            time.sleep(0.01)
        raise AssertionError(f"not seen within 20 s: {what}")
