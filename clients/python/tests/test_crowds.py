"""Those who connect without the token, and what they must not keep from those who have it."""
import asyncio
import contextlib
import socket
import threading
import time

from client import BotCase, Client

from botops import AsyncBot, connections


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

    def limit(self, **limits):
        """Has these limits of connections for the test."""
        for name, value in limits.items():
            self.addCleanup(setattr, connections, name, getattr(connections, name))
            setattr(connections, name, value)

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
        self.limit(FIRST_REQUEST_WITHIN=1.0)
        bot = self.make().start()
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(str(self.socket))
            self.assertTrue(self.ended(one, feeding=True))
        self.assertEqual(len(bot._server._connections), 0)

    def test_an_event_loop_serves_who_has_the_token_too(self):
        self.limit(FIRST_REQUEST_WITHIN=1.0)

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

    def test_who_asked_once_and_stays_keeps_no_place(self):
        self.limit(RECENT=0.0)
        bot = self.make().start()
        held = []
        for _ in range(40):
            one = self.client.connection()
            self.addCleanup(one.close)
            one.request("GET", "/ipc/v1/hello")
            self.assertEqual(one.getresponse().read()[:1], b"{")
            held.append(one)
        with contextlib.closing(self.client.connection()) as listener:
            listener.request("GET", "/ipc/v1/events")
            self.assertEqual(listener.getresponse().status, 200)
        self.assertLessEqual(len(bot._server._connections), 32)
        # The last ones are there still, also where many listen, and the first had to go.
        held[-1].request("GET", "/ipc/v1/hello")
        self.assertEqual(held[-1].getresponse().status, 200)
        self.assertTrue(self.ended(held[0].sock, feeding=False))

    def test_who_asks_each_second_is_not_closed_for_a_newcomer(self):
        self.limit(RECENT=60.0)
        self.make().start()
        held = []
        for _ in range(32):
            one = self.client.connection()
            self.addCleanup(one.close)
            one.request("GET", "/ipc/v1/hello")
            self.assertEqual(one.getresponse().read()[:1], b"{")
            held.append(one)
        with contextlib.closing(self.client.connection()) as newcomer, contextlib.suppress(ConnectionError):
            newcomer.request("GET", "/ipc/v1/hello")
            newcomer.getresponse()
        for one in held:
            one.request("GET", "/ipc/v1/hello")
            self.assertEqual(one.getresponse().read()[:1], b"{")

    def test_many_readers_of_events_keep_nobody_away(self):
        bot, held = self.make().start(), []
        for _ in range(40):
            one = self.client.connection()
            self.addCleanup(one.close)
            one.request("GET", "/ipc/v1/events")
            self.assertEqual(one.getresponse().status, 200)
            held.append(one)
        self.assertEqual(self.client.get("hello")["bot_id"], "tested")
        self.assertLessEqual(len(bot._server._connections), 32)

    def test_requests_beyond_what_botops_sends_wait_for_their_turn(self):
        self.limit(_REQUESTS_AT_ONCE=5, _SECONDS_A_REQUEST=0.05)

        def ask():
            with contextlib.closing(self.client.connection()) as one:
                begin = time.monotonic()
                for _ in range(20):
                    one.request("GET", "/ipc/v1/hello")
                    self.assertEqual(one.getresponse().read()[:1], b"{")
                return time.monotonic() - begin

        self.make().start()
        # The first five at once, the others a time apart: never sooner, however fast the machine is.
        self.assertGreater(ask(), 0.6)

        async def run():
            async with AsyncBot("tested", mode="paper", address=self.folder / "other.sock", data_dir=False):
                self.client = Client(self.folder / "other.sock")
                return await asyncio.to_thread(ask)

        self.assertGreater(asyncio.run(run()), 0.6)

    def test_who_takes_an_answer_too_slowly_is_let_go(self):
        self.limit(ANSWER_WITHIN=0.5, WRITE_WITHIN=0.5)

        def is_cut_off(path):
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(str(path))
                one.sendall(b"GET /ipc/v1/state HTTP/1.1\r\n\r\n")
                got, end = 0, time.monotonic() + 15
                while time.monotonic() < end:
                    time.sleep(0.02)
                    part = one.recv(4_000)
                    if not part:
                        return got
                    got += len(part)
            return None

        bot = self.make()
        other = AsyncBot("tested", mode="paper", address=self.folder / "other.sock", data_dir=False)
        for number in range(8_000):
            for one in (bot, other):
                one.order(number, symbol="BTC/USDT", status="PENDING", status_reason="x" * 500)
        bot.start()
        whole = len(self.client.send("GET", "state")[2])
        self.assertLess(is_cut_off(self.socket) or whole, whole)

        async def run():
            async with other:
                return await asyncio.to_thread(is_cut_off, self.folder / "other.sock")

        self.assertLess(asyncio.run(run()) or whole, whole)

    def test_a_head_without_end_is_refused_by_both(self):
        def ask(path):
            with socket.socket(socket.AF_UNIX) as one:
                one.settimeout(20)
                one.connect(str(path))
                one.sendall(b"G" * 17_000)
                return one.recv(1_000)

        self.make().start()
        self.assertIn(b"400 Bad Request", ask(self.socket))

        async def run():
            async with AsyncBot("tested", mode="paper", address=self.folder / "other.sock", data_dir=False):
                return await asyncio.to_thread(ask, self.folder / "other.sock")

        self.assertIn(b"400 Bad Request", asyncio.run(run()))

    def test_turns_are_given_in_order_and_unused_ones_are_no_credit_without_end(self):
        pace = connections.Pace(10, 1.0)
        self.assertEqual([pace.take_turn() for _ in range(10)], [0.0] * 10)
        waits = [pace.take_turn() for _ in range(3)]
        self.assertEqual([round(wait) for wait in waits], [1, 2, 3])
        self.assertGreater(pace.charge(100.0), 100.0)
