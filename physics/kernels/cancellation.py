"""Cancel checks: functions that a kernel calls regularly and that may end its work."""

from collections.abc import Callable


class Cancelled(Exception):  # noqa: N818
    """Raised by a cancel check when the points are no longer wanted."""


# Called about every second; it may raise Cancelled.
CancelCheck = Callable[[], None]


def never_cancelled() -> None:
    """No-op cancel check."""
