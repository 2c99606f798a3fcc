"""A demo on a free port, for the checks: `with demo() as (base, key): …`. Ended by its pid."""
import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading

ROOT = pathlib.Path(__file__).resolve().parents[2]
BOTOPS = os.environ.get("BOTOPS", str(ROOT / "target/debug/botops"))


@contextlib.contextmanager
def demo(*arguments, **settings):
    env = {name: value for name, value in os.environ.items() if not name.startswith("BOT_")}
    env |= {"BOT_API_RATE_LIMIT": "1000000"} | settings
    with tempfile.TemporaryDirectory(dir="/tmp", ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen([BOTOPS, "demo", "--port", "0", *arguments], cwd=folder, env=env,
                                   stdout=subprocess.PIPE, stderr=sys.stderr, text=True)
        try:
            base = key = None
            for line in process.stdout:
                base = base or next(iter(re.findall(r"http://[0-9.:]+", line)), None)
                key = key or next(iter(re.findall(r"^Key: (\S+)", line)), None)
                if base and key:
                    break
            else:
                raise SystemExit("the demo ended before it printed its key")
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield base, key
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
