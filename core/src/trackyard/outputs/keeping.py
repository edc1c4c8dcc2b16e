"""Where do outputs wait that a remote artifact store could not take, and how are they sent later?

Each is a file that bears the end of its URI, with a note beside it. Until it is sent it is the only
copy: it is loaded from here, and nothing else deletes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import attrs

from trackyard.contract.materializers import StoredOutput
from trackyard.system.files import make_home, make_private_folder, write_whole

FOLDER = "unsent"
FORMAT = 1
_NOTE = ".unsent.json"


@attrs.frozen
class KeptOutput:
    """An output that waits.

    Attributes:
        path: Its file.
        url: The artifact store that lacks it.
        stored: Where it belongs.
        is_accepted: Somebody has accepted by name that the store lacks it.
    """

    path: Path
    url: str
    stored: StoredOutput
    is_accepted: bool = False

    @property
    def run_id(self) -> str:
        """The step run that made it."""
        return self.path.parent.name

    @property
    def is_waiting(self) -> bool:
        """Tell whether it has not been sent; one whose file was deleted is lost."""
        return _note_of(self.path).exists()

    def accept(self) -> None:
        """Note that somebody has accepted that the store lacks it."""
        _write_note(attrs.evolve(self, is_accepted=True))

    def forget(self) -> None:
        """Remove the file: it has been sent."""
        _note_of(self.path).unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        with suppress(OSError):  # others wait beside it
            self.path.parent.rmdir()
            self.path.parent.parent.rmdir()


class KeptOutputs:
    """The outputs of a project that wait.

    Args:
        home: The project's `.trackyard`.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / FOLDER

    def path(self, uri: str) -> Path:
        """Give the file in which an output waits, whether or not it does.

        Args:
            uri: Where it belongs.
        """
        run_id, _, name = uri.rpartition("/")
        return self.folder / run_id.rpartition("/")[2] / name

    def make_folder(self, uri: str) -> Path:
        """Make the folder for a file, and give the file."""
        path = self.path(uri)
        make_private_folder(make_home(self.home) / FOLDER)
        make_private_folder(path.parent)
        return path

    def note(self, url: str, stored: StoredOutput) -> None:
        """Note that a file is whole, and where it belongs.

        Args:
            url: The artifact store that lacks it.
            stored: The output.
        """
        _write_note(KeptOutput(self.path(stored.uri), url, stored))

    def __iter__(self) -> Iterator[KeptOutput]:
        for note in sorted(self.folder.glob(f"*/*{_NOTE}")):
            path = note.with_name(note.name.removesuffix(_NOTE))
            try:
                values = json.loads(note.read_text(encoding="utf-8"))
                stored, is_accepted = StoredOutput(**values["stored"]), bool(values.get("accepted"))
                kept = KeptOutput(path, str(values["url"]), stored, is_accepted)
            except (OSError, ValueError, KeyError, TypeError):
                continue  # it is sent just now, or of a newer version
            if self.path(kept.stored.uri) == path and kept.stored.uri.startswith(f"{kept.url}/"):
                yield kept


def _write_note(kept: KeptOutput) -> None:
    values = {"format": FORMAT, "url": kept.url, "stored": attrs.asdict(kept.stored)}
    accepted = {"accepted": True} if kept.is_accepted else {}  # versions before pass over it
    write_whole(_note_of(kept.path), json.dumps({**values, **accepted}))


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + _NOTE)
