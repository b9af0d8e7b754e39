"""How zarr reads the chunks of a store: bounded, since they may come from a stranger, and fast.

A frame of zstd says how many bytes it becomes, and zarr would allocate as many. What zarr, its
codecs and numpy raise for a damaged chunk depends on what is wrong with it.

A sweep may have ten thousand chunks a variable, of a few bytes each. zarr takes 1.4 ms of CPU time
to read one, in tasks and threads of its own; opening and decoding the file takes 0.1 ms.
"""

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np
import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import BytesCodec, ZstdCodec
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_codec, register_pipeline
from zarr.storage import LocalStore

from latticescape.physics.errors import DamageError, RequestError
from latticescape.physics.store_contents import MAX_TEXT_BYTES, check_frame

# Fewer chunks than this are left to zarr, which decodes several at a time.
MIN_FILES = 16

# What is raised for other reasons than damage.
OTHER_REASONS = (RequestError, DamageError, MemoryError)


class BoundedZstd(ZstdCodec):
    """zstd, for frames that become no more than their chunk holds."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        itemsize = getattr(chunk_spec.dtype, "item_size", MAX_TEXT_BYTES)
        check_frame(chunk_bytes.to_bytes(), math.prod(chunk_spec.shape) * itemsize)
        return await super()._decode_single(chunk_bytes, chunk_spec)


class OneErrorPipeline(BatchedCodecPipeline):
    """zarr's own pipeline, which reads many files directly, and raises a DamageError for a damaged
    chunk."""

    async def read(
        self, batch_info: Iterable[Any], out: Any, drop_axes: tuple[int, ...] = ()
    ) -> Any:
        chunks = list(batch_info)
        try:
            if len(chunks) >= MIN_FILES and type(chunks[0][0].store) is LocalStore:
                chunks = await asyncio.to_thread(self._read_files, chunks, out, drop_axes)
            return await super().read(chunks, out, drop_axes)
        except OTHER_REASONS:
            raise
        except Exception as error:
            raise DamageError(str(error)) from error

    def _read_files(self, chunks: Sequence[Any], out: Any, drop_axes: tuple[int, ...]) -> list[Any]:
        """Read chunks of numbers from their files, and return the chunks that zarr has to read."""
        left, codec, plain = [], Zstd(), self._is_plain()
        for chunk in chunks:
            place, spec, inside, outside, _ = chunk
            try:
                raw = Path(place.store.root, place.path).read_bytes()
            except FileNotFoundError:  # a chunk that holds only the fill value is not written
                out[outside] = spec.fill_value
                continue
            dtype = spec.dtype.to_native_dtype()
            if not plain or dtype.kind not in "fciub":
                left.append(chunk)
                continue
            check_frame(raw, math.prod(spec.shape) * dtype.itemsize)
            little = dtype.newbyteorder("<")
            values = np.frombuffer(codec.decode(raw), little).reshape(spec.shape)[inside]
            out[outside] = values.squeeze(axis=drop_axes) if drop_axes else values
        return left

    def _is_plain(self) -> bool:
        """Whether a chunk consists of the bytes of its values, compressed by zstd."""
        endian = getattr(self.array_bytes_codec, "endian", None)
        return [type(codec) for codec in self] == [BytesCodec, BoundedZstd] and (
            endian is None or endian.value == "little"
        )


register_codec("zstd", BoundedZstd)
register_pipeline(OneErrorPipeline)

CONFIG = {
    "codecs.zstd": f"{__name__}.{BoundedZstd.__qualname__}",
    "codec_pipeline.path": f"{__name__}.{OneErrorPipeline.__qualname__}",
}

# The configuration belongs to the whole process.
_lock = RLock()


@contextmanager
def checked_chunks() -> Iterator[None]:
    """Let arrays that are opened in this block read their chunks by these classes."""
    with _lock, zarr.config.set(CONFIG):
        yield
