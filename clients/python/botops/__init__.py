"""Lets botops stand beside a trading bot in Python.

`Bot` is served from threads of its own, `AsyncBot` on the bot's event loop. README.md has the ten-minute path.
"""
from .aio import AsyncBot
from .bot import Bot
from .checks import Warn
from .commands import Command, Done, Refused, Unconfirmed
from .config import BotConfig
from .config_files import ConfigError
from .core import SDK_VERSION as __version__
from .problems import Problem

__all__ = ["AsyncBot", "Bot", "BotConfig", "Command", "ConfigError", "Done", "Problem", "Refused", "Unconfirmed",
           "Warn", "__version__"]
