"""Damage of files, drawn by Hypothesis from what the files hold and not from how we read them."""

import json
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from numcodecs.zstd import Zstd

# What a file becomes: these bytes, nothing, a folder, or a link to a file outside.
Edit = bytes | None | str
FOLDER, LINK = "folder", "link"

MAX_EDITS = 3

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
    *(
        "2020-01-01",
        "1_000",
        '"""',
        "\\u0000",
        "a.b.c",
        "-0.0",
        "{ start = 0, stop = 1, num = -1 }",
    ),
]


@st.composite
def edits(draw: st.DrawFn, files: Mapping[str, bytes]) -> dict[str, Edit]:
    """One to three changes of files, by name."""
    now: dict[str, Edit] = {}
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, MAX_EDITS)))):
        name = draw(_name(files))
        content = now.get(name, files[name])
        if isinstance(content, bytes):
            now[name] = draw(_changed(name, content, files))
            copy = _copy_of(name, now[name], now, files)
            if copy and draw(st.booleans()):
                now |= copy
    return now


def _name(files: Mapping[str, bytes]) -> st.SearchStrategy[str]:
    """A file; each kind of file of a store as often as the others."""
    kinds: dict[str, list[str]] = {}
    for name in sorted(files):
        path = Path(name)
        depth = len(path.parts) if path.suffix == ".json" else 0
        kind = "note" if "notes" in path.parts else f"{path.suffix}{depth}"
        kinds.setdefault(kind, []).append(name)
    return st.sampled_from(sorted(kinds)).flatmap(lambda kind: st.sampled_from(kinds[kind]))


@st.composite
def _changed(draw: st.DrawFn, name: str, content: bytes, files: Mapping[str, bytes]) -> Edit:
    kinds = ["flip", "cut", "swap", "gone", *[OWN.get(Path(name).suffix, "flip")] * 10]
    match draw(st.sampled_from(kinds)):
        case "cut":
            return content[: draw(st.integers(0, max(0, len(content) - 1)))]
        case "swap":
            return files[draw(st.sampled_from(sorted(files)))]
        case "gone":
            return draw(st.sampled_from((None, b"", FOLDER, LINK)) | st.binary(max_size=200))
        case "json":
            return draw(_json(content))
        case "text":
            return draw(_text(content.decode(errors="replace"))).encode(errors="surrogatepass")
        case "chunk":
            return draw(_chunk(content))
    flipped = bytearray(content or b"\0")
    for _ in range(draw(st.integers(1, 8))):
        flipped[draw(st.integers(0, len(flipped) - 1))] = draw(st.integers(0, 255))
    return bytes(flipped)


@st.composite
def _json(draw: st.DrawFn, content: bytes) -> bytes:
    try:
        root = json.loads(content)
    except (ValueError, RecursionError):
        return content
    if draw(st.integers(0, 40)) == 0:
        return b"[" * draw(st.sampled_from((10, 5000, 200_000)))
    return json.dumps(draw(_odd_json(root, 0))).encode()


@st.composite
def _odd_json(draw: st.DrawFn, value: Any, depth: int) -> Any:
    """A value with one part, anywhere in it, replaced, removed or renamed."""
    inner = isinstance(value, (dict, list)) and len(value) > 0
    if isinstance(value, str) and "\n" in value:  # the spec in a store
        return draw(_text(value))
    if not inner or (depth and draw(st.integers(0, 3)) == 0):
        return draw(st.sampled_from(ODD))
    keys = sorted(value) if isinstance(value, dict) else range(len(value))
    key: Any = draw(st.sampled_from(keys))
    changed = dict(value) if isinstance(value, dict) else list(value)
    action = draw(st.integers(0, 9))
    if action == 0:
        del changed[key]
    elif action == 1 and isinstance(changed, dict):
        changed[draw(st.sampled_from(["", "x", "\0", "../x", "spec", "shape"]))] = changed.pop(key)
    elif action == 1:
        changed.append(value[key])
    else:
        changed[key] = draw(_odd_json(value[key], depth + 1))
    return changed


@st.composite
def _text(draw: st.DrawFn, text: str) -> str:
    """A text with a word or line replaced, removed or repeated."""
    pattern = draw(
        st.sampled_from((r"[^\s,=\[\]{}]+", r"[^\s,=\[\]{}]+", r".*\n", r"\W", r"[\d.]+"))
    )
    places = [match.span() for match in re.finditer(pattern, text) if match[0]]
    if not places:
        return draw(st.sampled_from(WORDS))
    start, end = draw(st.sampled_from(places))
    other = draw(st.sampled_from(places))
    put = draw(
        st.sampled_from(WORDS) | st.just(text[start:end] * 2) | st.just(text[other[0] : other[1]])
    )
    return text[:start] + put + text[end:]


@st.composite
def _chunk(draw: st.DrawFn, content: bytes) -> bytes:
    """A chunk of other numbers of the right size, of another size, or of far too many."""
    try:
        raw = Zstd().decode(content)
    except (RuntimeError, ValueError):
        return draw(st.binary(max_size=100))
    odd = [struct.pack("<d", v) for v in (float("nan"), float("inf"), -1.0, 1e308, 5e-324)]
    odd += [b"\xff" * 8, b"\0" * 8, b"\x80" * 8, b"\x01" * 8, b"\x7f" * 8]
    size = draw(st.sampled_from((len(raw), len(raw), len(raw), 1, len(raw) + 8, 2**26)))
    return bytes(Zstd().encode((draw(st.sampled_from(odd)) * (size // 8 + 1))[:size]))


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
