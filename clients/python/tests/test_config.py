"""Config trials over the socket, as botops sends them."""
import hashlib
import json
import threading
from collections.abc import Mapping
from decimal import Decimal

from client import BotCase
from test_commands import LoopThread

from botops import Bot, ConfigError, Warn

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["risk", "interval"],
    "properties": {
        "risk": {"type": "number", "minimum": 0.001, "maximum": 0.05, "x-apply": "hot",
                 "x-risk": {"direction": "up", "class": "high"}},
        "daily_loss": {"type": ["string", "number"], "pattern": "^-[0-9.]+$", "maximum": -1,
                       "x-role": "daily_loss_limit", "x-unit": "USDT"},
        "interval": {"type": "integer", "minimum": 1, "x-apply": "restart"},
        "exchange": {"enum": ["kraken", "binance"], "x-apply": "never"},
        "api_key": {"type": "string", "minLength": 8, "x-secret": True},
        "targets": {"type": "array", "x-list-key": "symbol", "items": {"$ref": "#/$defs/target"}},
    },
    "$defs": {"target": {"type": "object", "required": ["symbol"], "additionalProperties": False,
                         "properties": {"symbol": {"type": "string"}, "weight": {"type": "number"}}}},
}
VALUES = {"risk": 0.02, "daily_loss": "-500.00", "interval": 5, "exchange": "kraken", "api_key": "a-secret-key",
          "targets": [{"symbol": "BTC/USDT", "weight": 1}]}


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


class ConfigCase(BotCase):
    """A case with a bot that has a config, and the calls of botops on it."""

    def served(self, check=None, apply=None, **options):
        bot = self.make(**options)
        config = bot.config(SCHEMA, VALUES, check=check, apply=apply, config_dir=options.pop("config_dir", None))
        bot.start()
        return bot, config

    def activate(self, txn="t1", gen=1, ttl_ms=60_000, version=2, boot_once=False, **changes):
        document = json.dumps({**VALUES, **changes})
        running = self.client.get("config")["running"]
        message = {"txn": txn, "gen": gen, "base": running, "candidate": {"version": version, "sha256": sha256(document)},
                   "document": document, "ttl_ms": ttl_ms}
        if boot_once:
            message["boot_once"] = True
        return self.client.post("config/activate", message)

    def refused(self, answer, status, code):
        self.assertEqual((answer[0], answer[1].get("code")), (status, code), answer)


class ConfigTest(ConfigCase):
    def test_the_schema_is_the_bots_own(self):
        bot, config = self.served()
        self.assertEqual(self.client.get("config/schema"), SCHEMA)
        self.assertIn("config", self.client.get("hello")["capabilities"])
        self.assertLessEqual({"config-schema", "config-boot-once"}, set(self.client.get("hello")["capabilities"]))
        running = self.client.get("config/document")
        self.assertEqual(running["running"]["sha256"], sha256(running["document"]))
        self.assertEqual(json.loads(running["document"]), VALUES)
        state = self.client.get("config")
        self.assertEqual((state["running"]["version"], state["trial"], state["gen"]), (0, None, 0))
        self.assertEqual(state["running"], state["committed"])
        shown = self.client.get("state")["config"]
        self.assertEqual((shown["running"], shown["summary"]["daily_loss_limit"]), (state["running"], "-500.00"))
        _, _, body = self.client.send("GET", "state")
        self.assertNotIn(b"a-secret-key", body)
        self.assertEqual(config["risk"], Decimal("0.02"))

    def test_it_reads_like_a_dictionary_and_cannot_be_written_to(self):
        bot, config = self.served()
        self.assertEqual(("risk" in config, "more" in config, len(config)), (True, False, len(VALUES)))
        self.assertEqual(list(config), list(VALUES))
        self.assertEqual(list(config.keys()), list(VALUES))
        self.assertEqual(dict(config)["interval"], 5)
        self.assertEqual(dict(config.items()), dict(zip(config, config.values())))
        self.assertEqual((config.get("risk"), config.get("more", 7)), (Decimal("0.02"), 7))
        self.assertEqual({**config}, config)
        self.assertIsInstance(config, Mapping)
        with self.assertRaises(TypeError):
            config["risk"] = 1
        with self.assertRaises(KeyError):
            config["more"]
        config.copy()["targets"].append(1)
        self.assertEqual(len(config["targets"]), 1)
        self.assertNotIn("a-secret-key", repr(config))
        held = config.items()
        self.assertEqual(self.activate(risk=0.01)[0], 200)
        self.assertEqual((config["risk"], dict(held)["risk"]), (Decimal("0.01"), Decimal("0.02")), "what was read stays")

    def test_a_check_names_every_reason_and_no_secret(self):
        def check(values):
            if values["risk"] > Decimal("0.03") and values["interval"] < 3:
                return [("/risk", "too much for so short an interval", "use at most 0.03")]
            if values["interval"] > 600:
                return [Warn("/interval", "the bot looks at the market every ten minutes only")]
            return None

        self.served(check)
        status, verdict = self.client.post("config/check", {"config": {**VALUES, "risk": 0.9, "interval": 0.5, "more": 1,
                                                                       "api_key": "short", "targets": [{"weight": "x"}]}})
        found = {one["path"]: one["code"] for one in verdict["violations"]}
        self.assertEqual(found, {"/risk": "out_of_range", "/interval": "wrong_type", "/more": "not_allowed",
                                 "/api_key": "wrong_length", "/targets/0/symbol": "missing", "/targets/0/weight": "wrong_type"})
        self.assertNotIn("short\"", json.dumps(verdict))
        _, verdict = self.client.post("config/check", {"config": {**VALUES, "risk": 0.04, "interval": 1}})
        self.assertEqual([one["fix"] for one in verdict["violations"]], ["use at most 0.03"])
        _, verdict = self.client.post("config/check", {"config": {**VALUES, "interval": 900}})
        self.assertEqual((verdict["ok"], verdict["warnings"][0]["path"]), (True, "/interval"))
        _, verdict = self.client.post("config/check", {"config": {**VALUES, "exchange": "binance"}})
        self.assertEqual([one["code"] for one in verdict["violations"]], ["not_changeable"])
        _, verdict = self.client.post("config/check", {"config": {**VALUES, "risk": 0.01, "interval": 7.0, "daily_loss": -500}})
        self.assertEqual((verdict["ok"], verdict["violations"]), (True, []), "an amount may be a number, and 7.0 is whole")

    def test_a_check_that_gives_no_list_is_understood_or_named(self):
        says = []
        self.served(lambda values: says[-1] if says else None)
        for said, ok, message in ((True, True, None), ([], True, None), (False, False, "the bot's check returned False"),
                                  (7, False, "the bot's check returned a value of type int"),
                                  ("too much", False, "too much"), (("/risk", "too much"), False, "too much"),
                                  (iter([("/risk", "too much", "less")]), False, "too much")):
            says.append(said)
            _, verdict = self.client.post("config/check", {"config": VALUES})
            self.assertEqual(verdict["ok"], ok, said)
            if message:
                self.assertEqual(len(verdict["violations"]), 1, verdict)
                self.assertIn(message, verdict["violations"][0]["message"])

    def test_what_cannot_be_called_with_one_argument_is_refused_at_once(self):
        bot = self.make()
        for make in (lambda: bot.on("pause")(lambda: None), lambda: bot.preview("flatten")(lambda: None),
                     lambda: bot.config(SCHEMA, VALUES, check=lambda: None),
                     lambda: bot.config(SCHEMA, VALUES, apply=lambda one, two: None)):
            with self.assertRaisesRegex(ValueError, "is called with one argument"):
                make()
        bot.on("pause")([].append)

        async def coroutine(given):
            pass

        for make in (lambda: bot.on("pause")(coroutine), lambda: bot.preview("flatten")(coroutine),
                     lambda: bot.config(SCHEMA, VALUES, check=coroutine), lambda: bot.config(SCHEMA, VALUES, apply=coroutine)):
            with self.assertRaisesRegex(ValueError, "is a plain function, not a coroutine"):
                make()

    def test_a_document_that_nests_too_deeply_is_refused(self):
        bot, config = self.served()
        for depth in (200, 900, 100_000):
            deep = "[" * depth + "]" * depth
            status, _, body = self.client.send("POST", "config/check", f'{{"config": {deep}}}'.encode())
            self.assertTrue(status == 400 or json.loads(body)["ok"] is False, (depth, status))
            document = f'{{"targets": {deep}}}'
            message = {"txn": "t", "gen": 1, "base": self.client.get("config")["running"], "document": document,
                       "candidate": {"version": 2, "sha256": sha256(document)}, "ttl_ms": 1000}
            status, _ = self.client.post("config/activate", message)
            self.assertIn(status, (400, 422), depth)
            # As deep as the body of a command may be.
            deep = "[" * min(depth, 30_000) + "]" * min(depth, 30_000)
            status, _, _ = self.client.send("POST", "commands/pause", deep.encode())
            self.assertIn(status, (400, 404), depth)
        self.assertEqual((self.client.get("config")["trial"], bot.problems), (None, []))

    def test_a_check_says_when_changes_take_effect(self):
        self.served()
        _, verdict = self.client.post("config/check", {"config": {**VALUES, "risk": 0.01, "interval": 7}})
        self.assertEqual((verdict["ok"], verdict["hot"], verdict["restart"]), (True, ["/risk"], ["/interval"]))
        _, verdict = self.client.post("config/check", {"config": {**VALUES, "risk": 0.020}})
        self.assertEqual((verdict["hot"], verdict["restart"]), ([], []), "other digits of the same are no change")

    def test_a_check_that_fails_has_not_passed(self):
        def check(values):
            raise KeyError("a fault of the bot")

        with self.assertRaises(ConfigError):
            self.served(check)

    def test_a_trial_is_run_by_the_loop_and_committed(self):
        applied = []
        bot, config = self.served(apply=lambda values: applied.append((values["risk"], threading.current_thread())))
        loop = LoopThread(bot)
        self.addCleanup(loop.end)
        status, ack = self.activate(risk=0.01)
        self.assertEqual((status, ack["running"]["version"], ack["txn"]), (200, 2, "t1"))
        self.assertEqual(applied, [(Decimal("0.01"), loop.thread)])
        self.assertEqual(config["risk"], Decimal("0.01"))
        state = self.client.get("config")
        self.assertEqual((state["trial"]["txn"], state["committed"]["version"], state["gen"]), ("t1", 0, 1))
        self.assertLessEqual(state["trial"]["ttl_left_ms"], 60_000)
        self.refused(self.activate("t2"), 409, "trial_live")
        self.assertEqual(self.activate(risk=0.01)[0], 200, "the same again is the same")
        status, ack = self.client.post("config/commit", {"txn": "t1", "gen": 2})
        self.assertEqual((status, self.client.get("config")["committed"]["version"]), (200, 2))
        self.assertEqual(self.client.post("config/commit", {"txn": "t1", "gen": 2})[0], 200)
        self.refused(self.client.post("config/revert", {"txn": "t1", "gen": 2}), 409, "not_in_trial")
        self.refused(self.client.post("config/revert", {"txn": "t9", "gen": 1}), 409, "older_generation")
        self.refused(self.activate("t1", gen=2), 409, "txn_over")
        loop.end()
        bot.stop()
        again = self.make().config(SCHEMA, {**VALUES, "risk": 0.03})
        self.assertEqual(again["risk"], Decimal("0.01"), "a restart runs what is committed")

    def test_a_trial_that_nobody_commits_ends_by_itself(self):
        bot, config = self.served()
        self.assertEqual(self.activate(risk=0.01, ttl_ms=150)[0], 200)
        self.assertEqual(config["risk"], Decimal("0.01"))
        self.until(lambda: self.client.get("config")["trial"] is None)
        state = self.client.get("config")
        self.assertEqual((state["running"]["version"], state["last_outcome"]), (0, ["t1", "trial_expired"]))
        self.assertEqual(config["risk"], Decimal("0.02"))
        self.refused(self.client.post("config/commit", {"txn": "t1", "gen": 1}), 409, "not_in_trial")

    def test_a_trial_ends_with_the_process(self):
        bot, _ = self.served()
        self.assertEqual(self.activate(risk=0.01)[0], 200)
        bot.stop()
        _, config = self.served()
        self.assertEqual(config["risk"], Decimal("0.02"))

    def test_a_revert_goes_back_and_holds_against_a_late_activation(self):
        bot, config = self.served()
        self.activate(risk=0.01)
        status, ack = self.client.post("config/revert", {"txn": "t1", "gen": 1})
        self.assertEqual((status, ack["running"]["version"], config["risk"]), (200, 0, Decimal("0.02")))
        self.assertEqual(self.client.post("config/revert", {"txn": "t7", "gen": 1})[0], 200)
        self.refused(self.activate("t7"), 409, "txn_over")

    def test_what_does_not_fit_is_not_run(self):
        self.served()
        running = self.client.get("config")["running"]
        document = json.dumps(VALUES)
        message = {"txn": "t", "gen": 1, "base": running, "candidate": {"version": 2, "sha256": sha256(document)},
                   "document": document, "ttl_ms": 1000}
        other = {"version": 9, "sha256": "0" * 64}
        self.refused(self.client.post("config/activate", {**message, "base": other}), 409, "base_mismatch")
        self.refused(self.client.post("config/activate", {**message, "candidate": other}), 422, "hash_mismatch")
        self.refused(self.client.post("config/activate", {**message, "ttl_ms": 0}), 422, "ttl_invalid")
        self.refused(self.client.post("config/activate", {**message, "ttl_ms": "soon"}), 400, "invalid")
        self.refused(self.activate(risk=0.9), 422, "check_failed")
        broken = {**message, "document": "{", "candidate": {"version": 2, "sha256": sha256("{")}}
        self.refused(self.client.post("config/activate", broken), 422, "check_failed")
        self.assertEqual(self.client.get("config")["trial"], None)

    def test_an_apply_that_raises_leaves_what_ran_before(self):
        applied = []

        def apply(values):
            applied.append(values["risk"])
            if values["risk"] == Decimal("0.01"):
                raise RuntimeError("cannot")

        bot, config = self.served(apply=apply)
        self.refused(self.activate(risk=0.01), 422, "apply_failed")
        self.assertEqual((applied, config["risk"]), ([Decimal("0.01"), Decimal("0.02")], Decimal("0.02")))
        self.assertIsNone(self.client.get("config")["trial"])

    def test_a_field_of_the_start_waits_for_one(self):
        bot, config = self.served()
        self.activate(interval=9)
        self.assertEqual(config["interval"], 5)
        self.assertEqual(self.client.get("config")["pending_restart"], ["/interval"])
        self.assertEqual(self.client.get("state")["config"]["pending_restart"], ["/interval"])

    def test_a_candidate_is_booted_once(self):
        bot, config = self.served()
        status, ack = self.activate(interval=9, boot_once=True)
        self.assertEqual((status, ack["running"]["version"], config["interval"]), (200, 0, 5), "nothing changes yet")
        bot.stop()
        bot, config = self.served()
        self.assertEqual(config["interval"], 9)
        self.assertEqual(self.client.get("config")["trial"]["txn"], "t1")
        bot.stop()
        bot, config = self.served()
        self.assertEqual((config["interval"], self.client.get("config")["trial"]), (5, None), "once")
        self.refused(self.activate(interval=9, boot_once=True), 409, "txn_over")
        self.activate("t2", interval=9, boot_once=True)
        bot.stop()
        bot, config = self.served()
        self.assertEqual(self.client.post("config/commit", {"txn": "t2", "gen": 1})[0], 200)
        bot.stop()
        _, config = self.served()
        self.assertEqual(config["interval"], 9, "it was committed")

    def write_head(self, folder, version, document):
        (folder / "versions").mkdir(parents=True, exist_ok=True)
        (folder / f"versions/{version}.json").write_text(document)
        (folder / "HEAD").write_text(json.dumps({"version": version, "sha256": sha256(document), "file": f"versions/{version}.json"}))

    def test_where_botops_is_on_the_same_disk_head_decides(self):
        folder = self.folder / "config"
        bot = self.make()
        config = bot.config(SCHEMA, VALUES, config_dir=folder)
        bot.start()
        self.activate(risk=0.01)
        self.refused(self.client.post("config/commit", {"txn": "t1", "gen": 1}), 409, "head_mismatch")
        document = json.dumps({**VALUES, "risk": 0.01})
        self.write_head(folder, 2, document)
        self.assertEqual(self.client.post("config/commit", {"txn": "t1", "gen": 1})[0], 200)
        bot.stop()
        again = self.make().config(SCHEMA, VALUES, config_dir=folder)
        self.assertEqual(again["risk"], Decimal("0.01"))
        (folder / "versions/2.json").write_text("{}")
        with self.assertRaises(ConfigError, msg="a bot that does not know its limits must not trade"):
            self.make(data_dir=self.folder / "third").config(SCHEMA, VALUES, config_dir=folder)
        self.assertEqual(config["risk"], Decimal("0.01"))

    def test_a_loop_that_stands_still_is_not_changed_late(self):
        bot, config = self.served()
        import botops.change
        before = botops.change._BEGIN_WITHIN
        botops.change._BEGIN_WITHIN = 0.1
        self.addCleanup(setattr, botops.change, "_BEGIN_WITHIN", before)
        bot.tick()
        self.refused(self.activate(risk=0.01), 409, "expired")
        bot.tick()
        self.assertEqual((config["risk"], self.client.get("config")["trial"]), (Decimal("0.02"), None))

    def test_a_schema_that_is_none_is_refused_at_once(self):
        bot = self.make()
        for schema in ({}, {"properties": {"a": {"pattern": "("}}}, {"properties": {"a": {"$ref": "#/$defs/none"}}}, []):
            with self.assertRaises(ConfigError, msg=schema):
                bot.config(schema, {})
        with self.assertRaises(ConfigError, msg="the values are not what the schema allows"):
            bot.config(SCHEMA, {**VALUES, "risk": 7})
        with self.assertRaises(ConfigError):
            Bot("tested", mode="paper", address=self.socket, data_dir=False).config(SCHEMA, VALUES)
        self.assertIsNone(bot._core.config)
