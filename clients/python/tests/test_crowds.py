"""Those who connect without the token, and what they must not keep from those who have it."""
import asyncio
import contextlib
import socket
import threading
import time

from client import BotCase, Client

from botops import AsyncBot, aio, server


class CrowdTest(BotCase):
    def setUp(self):
        super().setUp()
        self.token = self.folder / "token"

    def crowd(self, port):
        """As many connections as there may be, each of which has sent the begin of a request."""
        held = []
        for _ in range(32):
            one = socket.create_connection(("127.0.0.1", port))
            self.addCleanup(one.close)
            one.sendall(b"G")
            held.append(one)
        return held

    def hasten(self, module):
        """Has new connections show their token within a second."""
        before = module._FIRST_REQUEST_WITHIN
        module._FIRST_REQUEST_WITHIN = 1.0
        self.addCleanup(setattr, module, "_FIRST_REQUEST_WITHIN", before)

    def ended(self, one, feeding):
        """Whether the other side closes within 4 s, while a byte comes now and then."""
        one.settimeout(0.2)
        end = time.monotonic() + 4
        while time.monotonic() < end:
            try:
                if feeding:
                    one.sendall(b"E")
                if one.recv(1_000) == b"":
                    return True
            except socket.timeout:
                continue
            except OSError:
                return True
        return False

    def test_who_has_the_token_is_served_beside_a_crowd_without_it(self):
        bot = self.make(address="127.0.0.1:0", token_file=self.token).start()
        client = Client(bot.address, self.token.read_text().strip())
        kept = client.connection()
        with contextlib.closing(kept):
            for _ in range(3):
                kept.request("GET", "/ipc/v1/hello", headers={"Authorization": f"Bearer {client.token}"})
                self.assertEqual(kept.getresponse().read()[:1], b"{")
                self.crowd(int(bot.address.rpartition(":")[2]))
                time.sleep(0.1)
                self.assertEqual(client.get("hello")["bot_id"], "tested")
        self.assertIn(("address", "busy"), {(problem.where, problem.code) for problem in bot.problems})

    def test_a_first_request_has_to_come_within_its_time_however_slowly(self):
        self.hasten(server)
        bot = self.make().start()
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(self.socket))
            self.assertTrue(self.ended(one, feeding=True))
        self.assertEqual(bot._server._connections, {})

    def test_an_event_loop_serves_who_has_the_token_too(self):
        self.hasten(aio)

        async def run():
            async with AsyncBot("tested", mode="paper", address="127.0.0.1:0", token_file=self.token,
                                data_dir=False) as bot:
                port = bot._listener.getsockname()[1]
                client = Client(f"127.0.0.1:{port}", self.token.read_text().strip())
                held = await asyncio.to_thread(self.crowd, port)
                hello = await asyncio.to_thread(client.get, "hello")
                is_ended = await asyncio.to_thread(self.ended, held[-1], True)
                return hello["bot_id"], is_ended

        self.assertEqual(asyncio.run(run()), ("tested", True))

    def test_a_handler_that_takes_its_cancelling_for_an_error_does_not_keep_the_bot_from_ending(self):
        asked = threading.Event()

        async def run():
            bot = AsyncBot("tested", mode="paper", address=self.socket, data_dir=False)
            is_over = False

            @bot.on("flatten")
            async def flatten(command):
                asked.set()
                while not is_over:
                    try:
                        await asyncio.sleep(0.05)
                    except BaseException:
                        pass

            await bot.start()
            sent = threading.Thread(target=lambda: self.swallow(lambda: self.client.command("flatten", "1")), daemon=True)
            sent.start()
            await asyncio.to_thread(asked.wait, 10)
            begin = time.monotonic()
            stopping = asyncio.ensure_future(bot.stop())
            await asyncio.wait({stopping}, timeout=8)
            took = time.monotonic() - begin
            is_over = True
            await stopping
            return took

        self.assertLess(asyncio.run(run()), 6)

    @staticmethod
    def swallow(call):
        try:
            call()
        except Exception:
            pass
