"""A TCP link that can be made slow, where a kernel has no ``netem``."""

import asyncio
import random
import threading
from contextlib import suppress

# What of a link from far away reaches a program: latency, and packets that are sent once more.
LATENCY_SECONDS, LOSS, RESEND_SECONDS = 0.2, 0.05, 1.0
PIECE_BYTES = 2**16


class SlowLink:
    """A port on this machine that passes everything on to another one, both ways.

    Parameters
    ----------
    port
        The port that is passed on to.

    Attributes
    ----------
    port
        The new port.
    slow
        Whether each piece is late now, by the latency, and one in twenty by a second more.
    """

    def __init__(self, port: int) -> None:
        self.target, self.slow, self.rng = port, False, random.Random(port)
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        start = asyncio.start_server(self._link, "127.0.0.1", 0)
        server = asyncio.run_coroutine_threadsafe(start, self.loop).result()
        self.port = int(server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """End all connections."""

        async def end() -> None:
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            ahead, back = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(self._pass(reader, back), self._pass(ahead, writer))
        writer.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                if self.slow:
                    lost = self.rng.random() < LOSS
                    await asyncio.sleep(LATENCY_SECONDS + RESEND_SECONDS * lost)
                writer.write(piece)
                await writer.drain()
        writer.close()
