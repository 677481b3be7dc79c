"""Reports of a result: for the terminal, as JSON, and as one self-contained HTML page."""

from ..result import from_json, to_json
from .html import render_html
from .terminal import TerminalUi, print_result

__all__ = ["TerminalUi", "from_json", "print_result", "render_html", "to_json"]
