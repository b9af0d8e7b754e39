"""The one schema layer: declare a TOML table once, read it, and get one clear error.

A table is a subclass of :class:`Table`, a key is one of its fields (pydantic v2, strict types):

    class Profile(Table):
        jobs: int = Field(1, ge=1, le=10_000, examples=[8])
        memory: Memory = Field("2 GB", description="a number with its unit", examples=["4 GB"])
        scheduler: Literal["outside", "inside"] = "outside"

    profile = Profile.read(parse_toml(text, "the profile", 'kind = "slurm"'), "the profile")

Unknown and missing keys, wrong types, ranges and choices become a :class:`RequestError` whose parts
come from the declaration: *allowed* is the field's ``description``, or is derived from its type and
range; *hint* is its first ``examples``; nested tables are ordinary fields (``sweep: SweepTable``,
``variables: list[VariableTable]``). What a type cannot say goes into a validator
(``Annotated[str, AfterValidator(f)]`` or ``@model_validator(mode="after")``): a ``ValueError``
becomes "KEY cannot be used" with the same allowed and hint, a ``RequestError`` keeps its own words.
``Choice(names)`` in an ``Annotated`` allows words known only at run time, and :func:`read_kind`
picks the Table by the key ``kind``. Import this module only where a table is read: pydantic takes
0.2 s to import.
"""

import json
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, Literal, Self, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from latticescape.physics.errors import RequestError

_TYPES = {
    int: "a whole number",
    float: "a number",
    str: "a text",
    bool: "true or false",
    list: "a list",
    tuple: "a list",
    dict: "a table",
    Path: "a path",
}
_BOUNDS = {
    "greater_than",
    "greater_than_equal",
    "less_than",
    "less_than_equal",
    "finite_number",
}
# Of several errors in one table, the one that explains the others comes first: a misspelled key is
# unknown, and the right one is missing.
_ORDER = {"extra_forbidden": 0, "missing": 1}


class Table(BaseModel):
    """A table of a TOML file: its keys, their types, and what is allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @classmethod
    def read(cls, data: object, place: str) -> Self:
        """Check a table.

        Parameters
        ----------
        data
            The table as ``tomllib`` reads it.
        place
            What to call the table in an error: ``"the profile"``, or ``"[kernel]"``, which also
            comes before the names of its keys (``kernel.version``).

        Raises
        ------
        RequestError
            If a key is unknown, missing or holds what is not allowed.

        Examples
        --------
        >>> from pydantic import Field
        >>> class Profile(Table):
        ...     jobs: int = Field(1, ge=1, le=100, examples=[8])
        >>> Profile.read({"jobs": 4}, "the profile").jobs
        4
        >>> Profile.read({"jobs": 0}, "the profile")
        Traceback (most recent call last):
        ...
        latticescape.RequestError: jobs is out of range (came: 0; allowed: a whole number from 1
        to 100). Try: jobs = 8
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise request_error(cls, error, data, place) from None


@dataclass(frozen=True)
class Choice:
    """Words that are allowed, known only at run time: ``Annotated[str, Choice(MODELS)]``."""

    words: Collection[str]

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def _check(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.words:
            raise PydanticCustomError("literal_error", "unknown")
        return value


AnyTable = TypeVar("AnyTable", bound=Table)


def read_kind(kinds: Mapping[str, type[AnyTable]], data: Mapping[str, Any], place: str) -> AnyTable:
    """Check a table by the schema that its key ``kind`` names; the schema has no such field.

    Raises
    ------
    RequestError
        If the kind is missing or unknown, or as :meth:`Table.read`.
    """
    kind = data.get("kind")
    if not isinstance(kind, str) or kind not in kinds:
        raise RequestError(
            f"{place} has an unknown kind" if "kind" in data else f"{place} lacks the key kind",
            came=repr(kind) if "kind" in data else None,
            allowed=" | ".join(kinds),
            hint=f'kind = "{next(iter(kinds))}"',
        )
    return kinds[kind].read({k: v for k, v in data.items() if k != "kind"}, f"{place} ({kind})")


def parse_toml(text: str, place: str, example: str) -> dict[str, Any]:
    """The tables of a TOML text.

    Raises
    ------
    RequestError
        If it is not valid TOML; ``example`` is a line to type.

    Examples
    --------
    >>> parse_toml("jobs =", "the profile", "jobs = 8")
    Traceback (most recent call last):
    ...
    latticescape.RequestError: the profile is not valid TOML (came: Invalid value ...
    """
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Not only TOMLDecodeError: also a number of thousands of digits, and deep brackets.
        raise RequestError(
            f"{place} is not valid TOML", came=error, hint=f"lines such as {example}"
        ) from None


def read_text(path: Path, place: str, hint: str) -> str:
    """The UTF-8 text of a TOML file.

    Raises
    ------
    RequestError
        If it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(
            f"cannot read {place} {path}",
            came=getattr(error, "strerror", None) or "not UTF-8 text",
            allowed="a TOML file",
            hint=hint,
        ) from None


def request_error(
    model: type[Table], error: ValidationError, data: object, place: str
) -> RequestError:
    """The first error of a validation as one sentence; see the module's docstring."""
    details = min(error.errors(), key=lambda e: _ORDER.get(e["type"], 2))
    key = _Key.at(model, details["loc"], data, place)
    kind, cause = details["type"], details.get("ctx", {}).get("error")
    if isinstance(cause, RequestError):
        return cause.within(key.name) if key.name else cause
    if kind == "extra_forbidden":
        near = get_close_matches(key.word, key.siblings, 1)
        return RequestError(
            f"{key.table} has an unknown {key.noun}",
            came=key.word,
            allowed=", ".join(key.siblings),
            hint=example_line(near[0], key.siblings[near[0]]) if near else None,
        )
    if kind == "missing":
        return RequestError(
            f"{key.table} lacks the {key.noun} {key.word}",
            allowed=", ".join(key.siblings) if key.noun == "table" else allowed_text(key.field),
            hint=example_line(key.word, key.field),
        )
    return RequestError(
        f"{key.name or key.table} {_problem(kind)}",
        came=repr(key.value),
        allowed=allowed_text(key.field),
        hint=example_line(key.word, key.field) if key.field and key.field.examples else None,
    )


@dataclass(frozen=True)
class _Key:
    """The key that an error is about.

    Attributes
    ----------
    table, siblings
        What to call the table it stands in, and the fields of that table.
    name, word
        The key with the tables it stands in, and alone: ``lattice.size`` and ``size``.
    field
        Its field; None of an unknown key and of a whole table.
    value
        What came.
    """

    table: str
    siblings: Mapping[str, FieldInfo]
    name: str
    value: Any
    word: str = ""
    field: FieldInfo | None = None

    @classmethod
    def at(cls, model: type[Table], loc: Iterable[int | str], data: object, place: str) -> "_Key":
        """Follow a location from table to table; what is inside a value is left out."""
        key = cls(place, model.model_fields, place[1:-1] if place.startswith("[") else "", data)
        table: type[Table] | None = model
        for step in loc:
            if table is not None:
                key = key.of_table(table, str(step))
                table = _table_in(key.field) if key.container is None else None
            elif isinstance(step, int) and (table := _table_in(key.field)) is not None:
                item = key.value[step]
                named = item.get("name") if isinstance(item, Mapping) else None
                label = f".{named}" if isinstance(named, str) else f"[{step}]"
                key = replace(key, name=key.name + label, value=item)
            elif key.container is dict:
                return replace(key, name=f"{key.name}.{step}", value=key.value[step])
            else:
                return key
        return key

    def of_table(self, table: type[Table], word: str) -> "_Key":
        """A key of the table that this key holds."""
        return _Key(
            table=f"[{self.name}]" if self.name else self.table,
            siblings=table.model_fields,
            name=f"{self.name}.{word}" if self.name else word,
            value=self.value.get(word),
            word=word,
            field=table.model_fields.get(word),
        )

    @property
    def container(self) -> Any:
        """``list`` or ``dict`` if the field holds several values of one type."""
        origin = get_origin(self.field.annotation) if self.field else None
        return origin if origin in (list, tuple, dict) else None

    @property
    def noun(self) -> str:
        """What the keys of its table are: tables in a whole file, else keys."""
        typed = [field for field in self.siblings.values() if field.annotation is not Any]
        return "table" if typed and all(map(_is_table, typed)) else "key"


def _table_in(field: FieldInfo | None) -> type[Table] | None:
    """The Table that a field holds, or holds a list of."""
    annotation = None if field is None else field.annotation
    kinds = [kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type)]
    return next((kind for kind in kinds if issubclass(kind, Table)), None)


def _is_table(field: FieldInfo) -> bool:
    return _table_in(field) is not None or get_origin(field.annotation) is dict


def _problem(kind: str) -> str:
    if kind in ("model_type", "dict_type"):
        return "is not a table"
    if kind in _BOUNDS:
        return "is out of range"
    if kind in ("too_short", "too_long", "literal_error"):
        return {"literal_error": "is unknown"}.get(kind, f"is {kind.replace('_', ' ')}")
    return "is of the wrong type" if kind.endswith("_type") else "cannot be used"


def allowed_text(field: FieldInfo | None) -> str | None:
    """What a field may hold: as it is described, or else its type and range."""
    if field is None or field.description:
        return field and field.description
    for note in field.metadata:
        if isinstance(note, Choice):
            return " | ".join(note.words)
    kinds = get_args(field.annotation) or (field.annotation,)
    if get_origin(field.annotation) is Literal:
        return " | ".join(map(str, kinds))
    if get_origin(field.annotation) in _TYPES:
        kinds = (get_origin(field.annotation),)
    names = dict.fromkeys(_TYPES.get(kind, "a table") for kind in kinds if kind is not NoneType)
    return " or ".join(names) + "".join(map(_bound, field.metadata))


def _bound(note: object) -> str:
    words = {"ge": "from", "gt": "above", "le": "to", "lt": "below", "min_length": "of at least"}
    return "".join(f" {w} {getattr(note, key)}" for key, w in words.items() if hasattr(note, key))


def example_line(word: str, field: FieldInfo | None) -> str:
    """A line that works, as far as the field has an example."""
    if field is not None and _is_table(field):
        return f"[{word}]"
    examples = field.examples if field else None
    return f"{word} = {json.dumps(examples[0], ensure_ascii=False) if examples else '…'}"
