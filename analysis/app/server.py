"""``serve``: the page, for browsers of this machine alone."""

import errno
import socket
from collections.abc import Callable

import panel as pn

from latticescape.analysis.app.browser import POLL_MILLISECONDS, STYLE, Browser
from latticescape.analysis.app.shown import Shown
from latticescape.physics.errors import RequestError

HOST = "127.0.0.1"


def serve(shown: Shown, *, port: int, show: bool, told: Callable[[str], None] = print) -> None:
    """Serve the page until the process is ended.

    Parameters
    ----------
    shown
        What is browsed.
    port
        Of this machine; 0 for any free one.
    show
        Open a browser.
    told
        Called with the page's address.

    Raises
    ------
    RequestError
        If the port is in use, or not ours to take.
    """
    port = free_port(port)
    pn.extension(raw_css=[STYLE])

    def page() -> object:
        browser = Browser(shown)
        if not shown.reader.done.all():
            pn.state.add_periodic_callback(browser.poll, period=POLL_MILLISECONDS)
        return browser.layout

    Browser(shown)  # what cannot be drawn is told now; and what is read now is there for the page
    server = pn.serve(
        page,
        port=port,
        address=HOST,
        websocket_origin=[f"localhost:{port}", f"{HOST}:{port}"],
        title="latticescape",
        show=show,
        start=False,
        verbose=False,
    )
    told(f"http://localhost:{port}")
    server.start()
    server.io_loop.start()


def free_port(port: int) -> int:
    """The port, or any free one for 0.

    Raises
    ------
    RequestError
        If it cannot be had.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            problem = "is in use" if taken else f"cannot be used: {error.strerror}"
            raise RequestError(
                f"port {port} {problem}", allowed="a free port", hint="--port 0"
            ) from None
        found: int = probe.getsockname()[1]
        return found
