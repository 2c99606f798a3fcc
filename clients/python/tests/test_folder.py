"""A data folder that another process has, or that cannot be used: nothing is promised, and nothing of it is changed."""
import subprocess
import sys
import pathlib

from test_config import ConfigCase

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
