"""The page of ``latticescape browse``: a sweep, its landscape and its points, seen in a browser."""

from analysis.browse.app.browser import Browser
from analysis.browse.app.export import Sources
from analysis.browse.app.reader import Reader
from analysis.browse.app.server import serve
from analysis.browse.app.shown import Shown

__all__ = ["Browser", "Reader", "Shown", "Sources", "serve"]
