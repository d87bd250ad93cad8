"""HTML pages made of registered figures and tables."""

from fullwell.report.page import Page

__all__ = ["Page"]
