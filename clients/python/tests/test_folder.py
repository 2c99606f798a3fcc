"""A data folder that another process has, or that cannot be used: nothing is promised, and nothing of it is changed."""
import json
import os
import pathlib
import socket
import subprocess
import sys

from test_config import SCHEMA, VALUES, ConfigCase

from botops import ConfigError

OTHER = f"""
import sys
sys.path[:0] = {[str(pathlib.Path(__file__).resolve().parents[1]), str(pathlib.Path(__file__).resolve().parent)]!r}
from botops import Bot
from test_config import SCHEMA, VALUES
"""


class FolderTest(ConfigCase):
    def take_folder(self):
        """Another process that has the data folder, until it is told to end."""
        run = "from botops.durable import DataFolder; import sys, pathlib; own = DataFolder(pathlib.Path(sys.argv[1])); " \
              "own.try_to_own(); print(own.is_owned, flush=True); sys.stdin.read()"
        other = subprocess.Popen([sys.executable, "-c", OTHER + run, str(self.folder / "ipc/tested-data")],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

        def end():
            other.stdin.close()
            other.wait()
            other.stdout.close()

        self.assertEqual(other.stdout.readline(), "True\n")
        return end

    def test_what_is_not_on_disk_is_not_promised(self):
        end, calls = self.take_folder(), []
        bot = self.make()
        bot.on("pause")(calls.append)
        bot.start()
        self.assertNotIn("command-status", self.client.get("hello")["capabilities"])
        self.assertEqual(self.client.send("GET", "commands/1")[0], 503)
        self.assertEqual(self.client.command("pause", "1")["outcome"], "done", "a pause needs no folder")
        self.assertEqual(self.client.send("GET", "commands/1")[0], 503)
        end()
        self.until(lambda: "command-status" in self.client.get("hello")["capabilities"])
        self.assertEqual(self.client.get("commands/1")["standing"], "answered")
        self.assertEqual(self.client.get("commands/2")["standing"], "unknown")

    def test_a_folder_that_cannot_be_used_promises_nothing(self):
        (self.folder / "ipc").mkdir(mode=0o700)
        (self.folder / "ipc/tested-data").write_text("a file in its place")
        bot = self.make().start()
        self.assertNotIn("command-status", self.client.get("hello")["capabilities"])
        self.assertEqual(self.client.send("GET", "commands/1")[0], 503)

    def test_a_disk_that_takes_nothing_ends_the_promise(self):
        bot = self.make()
        bot.on("pause")(lambda command: None)
        bot.start()
        self.assertIn("command-status", self.client.get("hello")["capabilities"])
        book = bot._core.commands.book
        append = book._file.append

        def full(lines, sync):
            raise OSError(28, "No space left on device")

        book._file.append = full
        self.assertEqual(self.client.command("pause", "1")["outcome"], "done")
        self.assertNotIn("command-status", self.client.get("hello")["capabilities"])
        book._file.append = append
        self.until(lambda: "command-status" in self.client.get("hello")["capabilities"])

    def test_who_has_a_folder_is_named_with_its_process(self):
        self.served()
        second = "bot = Bot('tested', mode='paper', address=sys.argv[1]); " \
                 "print([problem.message for problem in bot.problems if problem.where == 'data_dir'])"
        seen = subprocess.run([sys.executable, "-c", OTHER + second, str(self.socket)], capture_output=True, text=True)
        self.assertIn(f"another process ({os.getpid()}) has ", seen.stdout, seen.stderr)

    def test_a_second_process_does_not_use_up_the_candidate_of_the_next_start(self):
        bot, _ = self.served()
        self.assertEqual(self.activate(interval=9, boot_once=True)[0], 200)
        second = "bot = Bot('tested', mode='paper', address=sys.argv[1]); config = bot.config(SCHEMA, VALUES); bot.start(); " \
                 "print(config['interval'], config.is_in_trial)"
        seen = subprocess.run([sys.executable, "-c", OTHER + second, str(self.socket)], capture_output=True, text=True)
        self.assertEqual(seen.stdout, "5 False\n")
        # Whoever started it by mistake reads so.
        who = f"another process ({os.getpid()})" if hasattr(socket, "SO_PEERCRED") else "another process"
        self.assertIn(f"{who} serves {self.socket}; it is waited for", seen.stderr)
        self.assertIn("End the other process", seen.stderr)
        bot.stop()
        _, config = self.served()
        self.assertEqual((config["interval"], config.is_in_trial), (9, True))

    def test_in_the_folder_of_another_process_no_config_is_changed(self):
        self.served()[0].stop()
        end = self.take_folder()
        _, config = self.served()
        self.assertNotIn("config-boot-once", self.client.get("hello")["capabilities"])
        for boot_once in (False, True):
            self.refused(self.activate(risk=0.01, boot_once=boot_once), 409, "not_recorded")
        self.refused(self.client.post("config/revert", {"txn": "t9", "gen": 1}), 409, "not_recorded")
        self.assertEqual([file.name for file in self.folder.rglob("config-*")], [])
        outcomes = self.folder / "ipc/tested-data/config-outcomes.json"
        outcomes.write_text(json.dumps({"gen": 5, "endings": [["t0", "committed"]]}))
        end()
        self.until(lambda: self.client.get("config")["gen"] == 5, "what the other process had written")
        self.refused(self.activate(risk=0.01), 409, "older_generation")
        self.refused(self.activate("t0", 5, risk=0.01), 409, "txn_over")

    def test_a_file_that_is_not_understood_is_a_config_error(self):
        self.served()[0].stop()
        folder = self.folder / "ipc/tested-data"
        for name in ("config-outcomes.json", "config-committed.json"):
            for content in ("", "[]", "{}", '{"gen": 1}', '{"gen": "x", "endings": []}', '{"gen": 1, "endings": [1]}',
                            '{"gen": 1e999, "endings": []}', '{"version": 1, "document": "{}"}', '{"version": "x"}'):
                (folder / name).write_text(content)
                with self.assertRaises(ConfigError, msg=(name, content)):
                    self.make().config(SCHEMA, VALUES)
            (folder / name).unlink()
        self.served()
