"""Damage of files, drawn from what the files hold and not from how latticescape reads them.

The same seed gives the same damage on every machine and with every version: which files are damaged
follows from their names alone, and where in a file from relative positions in what it holds. So a
clock, a digest or an identifier in a store changes nothing.
"""

import json
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from numcodecs.zstd import Zstd

# What a file becomes: these bytes, nothing, a folder, or a link to a file outside.
Edit = bytes | None | str
FOLDER, LINK = "folder", "link"

# How a kind of file is changed most often; images have kinds of their own.
OWN = {".json": "json", ".toml": "text", ".csv": "text", "": "chunk"}

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1, 3, 1.5, -0.0, 1e308, 10**30, -(2**63), 2**31, 2**64),
    *(float("nan"), float("inf"), "", "0", "x", "nan", "\0", "é\u202e", "\ud800", "../..", "/"),
    *("a" * 5000, [], {}, [[]], [None], [1, "a"], {"a": 1}, {"": {}}, [0] * 500, "pickle", "<b>"),
]
WORDS = [
    *("", "0", "-1", "1e999", "nan", "inf", "true", "[]", "{}", '"', "'", "[", "]", "\0", "é", "="),
    *("9" * 40, "1.5", '"x"', "null", ",", ",,,", "\n", "#", "[[x]]", "0x", "1e-320", "\ufeff"),
    *("2020-01-01", "1_000", '"""', "\\u0000", "a.b.c", "-0.0"),
    "{ start = 0, stop = 1, num = -1 }",
]
KEYS = ["", "x", "\0", "../x", "spec", "shape"]

# Most often a word is changed.
TEXTS = (r"[^\s,=\[\]{}]+", r"[^\s,=\[\]{}]+", r".*\n", r"\W", r"[\d.]+")

NUMBERS = [struct.pack("<d", v) for v in (float("nan"), float("inf"), -1.0, 1e308, 5e-324)]
NUMBERS += [b"\xff" * 8, b"\0" * 8, b"\x80" * 8, b"\x01" * 8, b"\x7f" * 8]

Option = TypeVar("Option")


@dataclass(frozen=True)
class Damage:
    """A change of a file.

    Attributes
    ----------
    name
        The file.
    kind
        flip, cut, swap, gone, json, text or chunk.
    seed
        Of the details.
    """

    name: str
    kind: str
    seed: int


def draw_damages(names: Iterable[str], rng: Random) -> list[Damage]:
    """One to three changes of files; each kind of file of a store as often as the others."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(names):
        path = Path(name)
        depth = len(path.parts) if path.suffix == ".json" else 0
        kind = "note" if "notes" in path.parts else f"{path.suffix}{depth}"
        kinds.setdefault(kind, []).append(name)
    damages = []
    for _ in range(pick(rng, (1, 1, 1, 2, 3))):
        name = pick(rng, kinds[pick(rng, sorted(kinds))])
        own = OWN.get(Path(name).suffix, "flip")
        kind = pick(rng, ("flip", "cut", "swap", "gone", *[own] * 10))
        damages.append(Damage(name, kind, rng.getrandbits(64)))
    return damages


def apply_damages(damages: Iterable[Damage], files: Mapping[str, bytes]) -> dict[str, Edit]:
    """What the damaged files become, by name."""
    now: dict[str, Edit] = {}
    for damage in damages:
        content = now.get(damage.name, files[damage.name])
        if isinstance(content, bytes):
            rng = Random(damage.seed)
            now[damage.name] = _changed(damage, content, files, rng)
            if rng.random() < 0.5:
                now |= _copy_of(damage.name, now[damage.name], now, files)
    return now


def pick(rng: Random, options: Sequence[Option]) -> Option:
    """An option at a relative position, by one draw however many there are."""
    return options[int(rng.random() * len(options))]


def _bytes(rng: Random, most: int) -> bytes:
    return rng.randbytes(int(rng.random() * most))


def _changed(damage: Damage, content: bytes, files: Mapping[str, bytes], rng: Random) -> Edit:
    match damage.kind:
        case "cut":
            return content[: int(rng.random() * len(content))]
        case "swap":
            return files[pick(rng, sorted(files))]
        case "gone":
            return pick(rng, (None, b"", FOLDER, LINK, *[_bytes(rng, 200)] * 4))
        case "json":
            return _json(content, rng)
        case "text":
            return _text(content.decode(errors="replace"), rng).encode(errors="surrogatepass")
        case "chunk":
            return _chunk(content, rng)
    flipped = bytearray(content or b"\0")
    for _ in range(pick(rng, range(1, 9))):
        flipped[int(rng.random() * len(flipped))] = pick(rng, range(256))
    return bytes(flipped)


def _json(content: bytes, rng: Random) -> bytes:
    try:
        root = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if rng.random() < 1 / 40:
        return b"[" * pick(rng, (10, 5000, 200_000))
    return json.dumps(_odd_json(root, 0, rng)).encode()


def _odd_json(value: Any, depth: int, rng: Random) -> Any:
    """A value with one part, anywhere in it, replaced, removed or renamed."""
    inner = isinstance(value, (dict, list)) and len(value) > 0
    if isinstance(value, str) and "\n" in value:  # the spec in a store
        return _text(value, rng)
    if not inner or (depth and rng.random() < 1 / 4):
        return pick(rng, ODD)
    keys = sorted(value) if isinstance(value, dict) else range(len(value))
    key: Any = pick(rng, keys)
    changed = dict(value) if isinstance(value, dict) else list(value)
    action = pick(rng, range(10))
    if action == 0:
        del changed[key]
    elif action == 1 and isinstance(changed, dict):
        changed[pick(rng, KEYS)] = changed.pop(key)
    elif action == 1:
        changed.append(value[key])
    else:
        changed[key] = _odd_json(value[key], depth + 1, rng)
    return changed


def _text(text: str, rng: Random) -> str:
    """A text with a word or line replaced, removed or repeated."""
    places = [match.span() for match in re.finditer(pick(rng, TEXTS), text) if match[0]]
    if not places:
        return pick(rng, WORDS)
    start, end = pick(rng, places)
    other = text[slice(*pick(rng, places))]
    return text[:start] + pick(rng, (pick(rng, WORDS), text[start:end] * 2, other)) + text[end:]


def _chunk(content: bytes, rng: Random) -> bytes:
    """A chunk of other numbers of the right size, of another size, or of far too many."""
    try:
        raw = Zstd().decode(content)
    except (RuntimeError, ValueError):
        return _bytes(rng, 100)
    size = pick(rng, (len(raw), len(raw), len(raw), 1, len(raw) + 8, 2**26))
    return bytes(Zstd().encode((pick(rng, NUMBERS) * (size // 8 + 1))[:size]))


def _copy_of(
    name: str, content: Edit, now: Mapping[str, Edit], files: Mapping[str, bytes]
) -> dict[str, Edit]:
    """The copy of an array's metadata in its group, changed as the array's own."""
    path = Path(name)
    root = str(path.parents[1] / "zarr.json") if len(path.parts) == 3 else ""
    group = now.get(root, files.get(root))
    if path.name != "zarr.json" or not (isinstance(group, bytes) and isinstance(content, bytes)):
        return {}
    try:
        metadata = json.loads(group)
        metadata["consolidated_metadata"]["metadata"][path.parts[1]] = json.loads(content)
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {root: json.dumps(metadata).encode()}
