"""The web page."""

from nanoos.web.pages import make_pages

__all__ = ["make_pages"]
