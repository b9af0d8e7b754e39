"""Tags and a note of a store, for people: a record in the store, no part of its digest."""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict

from latticescape.physics.errors import RequestError, shortened
from latticescape.sweeps.store.atomic_write import report_unwritable
from latticescape.sweeps.store.location import StorePath
from latticescape.sweeps.store.object_store import Records
from latticescape.sweeps.store.store import Store

NAME = "label"

MAX_TAGS, MAX_TAG, MAX_NOTE = 32, 64, 1000


class Label(BaseModel):
    """Tags and a note of a store, which say what it is for and change no result.

    Attributes
    ----------
    tags
        Words, each of which may be searched for.
    note
        One line of text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tags: tuple[str, ...] = ()
    note: str = ""

    def check(self) -> None:
        """Raise RequestError if a text is too long, or holds what cannot be printed."""
        if len(self.tags) > MAX_TAGS:
            raise RequestError(
                "a store has too many tags",
                came=len(self.tags),
                allowed=f"{MAX_TAGS} or fewer",
                hint="--note for longer texts",
            )
        for tag in self.tags:
            if not _is_plain(tag, MAX_TAG) or not tag.strip():
                raise RequestError(
                    "a tag cannot be used",
                    came=repr(shortened(tag, 80)),
                    allowed=f"printable text of 1 to {MAX_TAG} characters",
                    hint="--tag draft",
                )
        if not _is_plain(self.note, MAX_NOTE):
            raise RequestError(
                "the note cannot be used",
                came=repr(shortened(self.note, 80)),
                allowed=f"one line of printable text, at most {MAX_NOTE} characters",
                hint='--note "for figure 3"',
            )


def _is_plain(text: str, most: int) -> bool:
    return text.isprintable() and len(text) <= most


def read_label(records: Records) -> Label:
    """The tags and the note of a store; none if what is there is no label."""
    label = records.read_as(NAME, Label) or Label()
    try:
        label.check()
    except RequestError:
        return Label()
    return label


def label(store: StorePath, *, tags: Sequence[str] | None = None, note: str | None = None) -> Label:
    """Give a store tags and a note, which ``info`` and ``list`` show; they change no digest.

    Parameters
    ----------
    store
        The store's folder, or URL.
    tags
        Short printable texts, which replace those the store has; None keeps them.
    note
        A line of printable text, which replaces the note the store has; None keeps it.

    Returns
    -------
    Label
        The tags and the note that the store now has.

    Raises
    ------
    RequestError
        If a text is too long or cannot be printed, there is no store, or it cannot be written.

    Examples
    --------
    >>> label("nowhere.zarr", tags=["draft"])
    Traceback (most recent call last):
    ...
    latticescape.RequestError: there is no store at nowhere.zarr ...
    """
    Label(tags=tuple(tags or ()), note=note or "").check()
    opened = Store(store)
    opened.arrays()  # no link leads the record out of the store
    old = read_label(opened.records)
    new = Label(
        tags=old.tags if tags is None else tuple(dict.fromkeys(tags)),
        note=old.note if note is None else note,
    )
    with report_unwritable(store):
        opened.records.write(NAME, new.model_dump())
    return new
