"""The files behind a bot's config: what is committed, how trials ended, and a candidate for the next start.

Where the folder of botops is on the same disk, its `HEAD` names what is committed; otherwise the bot keeps that itself.
"""
from __future__ import annotations

import hashlib
import json
import pathlib
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from .durable import replace_file

# Endings that are kept; a message of an older transaction is treated as new.
_KEPT_ENDINGS = 256
# A candidate that waited longer than this for a start is not booted any more.
_LONGEST_WAIT = 600.0


class ConfigError(ValueError):
    """The config cannot be loaded: a bot that does not know its limits must not trade."""


class Document(NamedTuple):
    """A document with its number; `sha256` is that of exactly this text."""

    version: int
    text: str
    sha256: str

    def reference(self) -> Dict[str, Any]:
        """The version as the contract writes it."""
        return {"version": self.version, "sha256": self.sha256}


def document(version: int, text: str) -> Document:
    """A document with the hash of its text."""
    return Document(version, text, hashlib.sha256(text.encode()).hexdigest())


class ConfigFiles:
    """Reads and writes them. Every method raises OSError when the disk fails."""

    def __init__(self, own: Optional[pathlib.Path], head_folder: Optional[pathlib.Path],
                 is_owned: Callable[[], bool] = lambda: True) -> None:
        self._own = own
        # Another process may have the folder: what is in it is that one's, and only read.
        self._is_owned = is_owned
        self.head_folder = head_folder
        self.generation = 0
        self.endings: List[Tuple[str, str]] = []

    def load_outcomes(self) -> None:
        """Reads how earlier trials ended."""
        content = self._read("config-outcomes.json")
        if content is None:
            return
        try:
            generation = int(content["gen"])
            endings = [(str(txn), str(what)) for txn, what in content["endings"]]
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"config-outcomes.json cannot be understood: {error!r}") from None
        # What this process has seen itself stays: it may have waited for the folder.
        self.generation = max(generation, self.generation)
        self.endings = (endings + [one for one in self.endings if one not in endings])[-_KEPT_ENDINGS:]

    def ending(self, txn: str) -> Optional[str]:
        """How a transaction ended; `None` when it has not, or is forgotten."""
        return next((what for of, what in reversed(self.endings) if of == txn), None)

    def record(self, generation: int, ending: Optional[Tuple[str, str]] = None) -> None:
        """Keeps a generation and an ending; after an error neither is kept."""
        if ending is None and generation <= self.generation:
            return
        endings = (self.endings + ([ending] if ending else []))[-_KEPT_ENDINGS:]
        highest = max(generation, self.generation)
        if self._own is not None:
            content = {"gen": highest, "endings": endings}
            self._replace("config-outcomes.json", content)
        self.generation, self.endings = highest, endings

    def remember(self, ending: Tuple[str, str]) -> None:
        """Keeps an ending that has happened already, whether it can be written or not."""
        try:
            self.record(self.generation, ending)
        except OSError:
            self.endings = (self.endings + [ending])[-_KEPT_ENDINGS:]

    def load_committed(self) -> Optional[Document]:
        """What a start loads; `None` when nothing was ever committed. Raises `ConfigError` for what does not hold."""
        if self.head_folder is not None:
            return self._load_head(self.head_folder)
        content = self._read("config-committed.json")
        if content is None:
            return None
        try:
            loaded = document(int(content["version"]), str(content["document"]))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ConfigError(f"config-committed.json cannot be understood: {error!r}") from None
        if loaded.sha256 != content.get("sha256"):
            raise ConfigError("config-committed.json does not have the hash that it says")
        return loaded

    def store_committed(self, committed: Document) -> None:
        """Makes this what a start loads; where `HEAD` says it, nothing is written."""
        if self.head_folder is None and self._own is not None:
            content = {"version": committed.version, "sha256": committed.sha256, "document": committed.text}
            self._replace("config-committed.json", content)

    def store_candidate(self, message: Dict[str, Any]) -> None:
        """Keeps a candidate for the next start."""
        if self._own is None:
            raise OSError("there is no data folder to keep it in")
        kept = {name: message[name] for name in ("txn", "base", "candidate", "document", "ttl_ms")}
        self._write_candidate({**kept, "at": time.time(), "tries": 1})

    def was_tried(self, txn: str) -> bool:
        """Whether the kept candidate is of this transaction and had its start."""
        kept = self._read("config-boot-once.json")
        return kept is not None and kept.get("txn") == txn and kept.get("tries") == 0

    def spend_try(self, committed_sha256: str) -> Optional[Dict[str, Any]]:
        """The candidate of this start, once: that it was tried is on disk before it is returned."""
        if not self._is_owned():
            return None
        kept = self._read("config-boot-once.json")
        if kept is None or kept.get("tries") != 1 or self.ending(str(kept.get("txn"))) is not None:
            return None
        is_in_time = 0 <= time.time() - float(kept["at"]) <= _LONGEST_WAIT
        if not is_in_time or kept["base"]["sha256"] != committed_sha256:
            return None
        self._write_candidate({**kept, "tries": 0})
        return kept

    def remove_candidate(self) -> None:
        """Has no start boot the candidate."""
        if self._own is not None and self._is_owned():
            try:
                (self._own / "config-boot-once.json").unlink()
            except FileNotFoundError:
                pass

    def _write_candidate(self, kept: Dict[str, Any]) -> None:
        self._replace("config-boot-once.json", kept)

    def _replace(self, name: str, content: Dict[str, Any]) -> None:
        if self._own is None or not self._is_owned():
            raise OSError("the data folder is not this process's")
        replace_file(self._own / name, json.dumps(content).encode())

    def _read(self, name: str) -> Optional[Dict[str, Any]]:
        if self._own is None:
            return None
        try:
            content = json.loads((self._own / name).read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ConfigError(f"{name} cannot be read: {error}") from None
        if not isinstance(content, dict):
            raise ConfigError(f"{name} cannot be read")
        return content

    @staticmethod
    def _load_head(folder: pathlib.Path) -> Optional[Document]:
        try:
            head = json.loads((folder / "HEAD").read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ConfigError(f"{folder / 'HEAD'} cannot be read: {error}") from None
        try:
            named = pathlib.PurePosixPath(head["file"])
            if named.is_absolute() or ".." in named.parts:
                raise ConfigError("HEAD names a file outside its folder")
            file = folder / named if len(named.parts) > 1 else folder / "versions" / named
            loaded = document(int(head["version"]), file.read_bytes().decode())
            if loaded.sha256 != str(head["sha256"]).lower():
                raise ConfigError(f"{file} does not have the hash that HEAD says")
        except (KeyError, TypeError, ValueError, FileNotFoundError) as error:
            raise ConfigError(f"HEAD cannot be followed: {error}") from None
        return loaded
