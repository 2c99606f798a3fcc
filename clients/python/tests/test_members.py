"""Members of a request that are not what the contract has for them: nothing is done, and they are never taken as absent."""
from test_config import ConfigCase

HUGE = 10 ** 400


class MembersTest(ConfigCase):
    def test_a_member_of_another_type_is_refused_and_nothing_is_done(self):
        bot, calls = self.make(), []
        bot.on("cancel-orders")(calls.append)
        bot.start()
        wrong = [{"dry_run": 1}, {"dry_run": "true"}, {"dry_run": []}, {"valid_for_ms": "0"}, {"valid_for_ms": True},
                 {"valid_for_ms": HUGE}, {"valid_for_ms": float("nan")}, {"valid_for_ms": float("inf")},
                 {"expires_at": 1}, {"expires_at": "2020-01-01T00:00:00"}, {"expires_at": "2020-01-01 some day"},
                 {"args": ["BTC"]}, {"args": "BTC"}, {"args": {"symbols": "BTC"}}, {"args": {"symbols": {}}},
                 {"args": {"symbols": [1]}}, {"args": {"exits": "false"}}, {"args": {"durable": 1}}, {"reason": 7},
                 {"command_id": True}, {"command_id": 1.5}]
        for number, member in enumerate(wrong):
            body = {"command_id": str(number), "reason": "a test", **member}
            status, answer = self.client.post("commands/cancel-orders", body)
            self.assertEqual((status, answer.get("code")), (400, "invalid"), str(member)[:60])
            self.assertEqual(self.client.get(f"commands/{number}")["standing"], "unknown")
        self.assertEqual(calls, [])

    def test_null_is_absent(self):
        bot, calls = self.make(), []
        bot.on("cancel-orders")(calls.append)
        bot.start()
        none = {"dry_run": None, "valid_for_ms": None, "expires_at": None, "args": {"symbols": None}}
        self.assertEqual(self.client.command("cancel-orders", "1", **none)["outcome"], "done")
        self.assertEqual(self.client.command("cancel-orders", "2", args=None)["outcome"], "done")
        self.assertEqual([command.symbols for command in calls], [[], []])

    def test_a_config_that_is_for_the_next_start_is_never_run_at_once(self):
        _, config = self.served()
        before = config["risk"]
        running = self.client.get("config")["running"]
        status, answer = self.activate(risk=0.01, boot_once=True, version="two")
        self.assertEqual((status, answer["code"]), (400, "invalid"))
        for given in (1, "true", [], {}):
            message = {"txn": "t", "gen": 1, "base": running, "candidate": {"version": 2, "sha256": "0"}, "document": "{}",
                       "ttl_ms": 1_000, "boot_once": given}
            status, answer = self.client.post("config/activate", message)
            self.assertEqual((status, answer["code"]), (400, "invalid"))
        self.assertEqual(config["risk"], before)
