"""How zarr reads the chunks of a store, which may come from a stranger: bounded, with one error.

A frame of zstd says how many bytes it becomes, and zarr would allocate as many. What zarr, its
codecs and numpy raise for a damaged chunk depends on what is wrong with it.
"""

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

import zarr
from zarr.codecs import ZstdCodec
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_codec, register_pipeline

from latticescape.physics.errors import DamageError, RequestError
from latticescape.physics.store_contents import MAX_TEXT_BYTES, check_frame

# What is raised for other reasons than damage.
OTHER_REASONS = (RequestError, DamageError, MemoryError)


class BoundedZstd(ZstdCodec):
    """zstd, for frames that become no more than their chunk holds."""

    async def _decode_single(self, chunk_bytes: Any, chunk_spec: Any) -> Any:
        itemsize = getattr(chunk_spec.dtype, "item_size", MAX_TEXT_BYTES)
        check_frame(chunk_bytes.to_bytes(), math.prod(chunk_spec.shape) * itemsize)
        return await super()._decode_single(chunk_bytes, chunk_spec)


class OneErrorPipeline(BatchedCodecPipeline):
    """zarr's own pipeline, which raises a DamageError for a chunk that cannot be read."""

    async def read(self, batch_info: Iterable[Any], *args: Any, **options: Any) -> Any:
        try:
            return await super().read(batch_info, *args, **options)
        except OTHER_REASONS:
            raise
        except Exception as error:
            raise DamageError(str(error)) from error


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
