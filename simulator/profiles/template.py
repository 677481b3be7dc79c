"""Templates and pointers of a server description: fill `{names}` into JSON, find a value by JSON pointer.
Pure.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Values = Mapping[str, object]


def fill(template: Any, values: Values) -> Any:
    """The template with every `{name}` replaced; a text that is only one `{name}` takes the value itself.

    Names that are not known stay as they are, so that JSON with braces passes.
    """
    if isinstance(template, str):
        return _fill_text(template, values)
    if isinstance(template, Mapping):
        return {key: fill(value, values) for key, value in template.items()}
    if isinstance(template, Sequence):
        return [fill(value, values) for value in template]
    return template


def _fill_text(text: str, values: Values) -> object:
    if text.startswith("{") and text.endswith("}") and text[1:-1] in values:
        return values[text[1:-1]]
    for name, value in values.items():
        text = text.replace("{" + name + "}", str(value))
    return text


def mentions(template: Any, name: str) -> bool:
    """Whether `{name}` occurs anywhere in the template."""
    if isinstance(template, str):
        return "{" + name + "}" in template
    if isinstance(template, Mapping):
        return any(mentions(value, name) for value in template.values())
    if isinstance(template, Sequence):
        return any(mentions(value, name) for value in template)
    return False


def parts(pointer: str) -> tuple[str, ...]:
    """The reference tokens of a JSON pointer. Source: RFC 6901."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])


def find(document: Any, tokens: Sequence[str]) -> Any:
    """The value that the tokens lead to, None when there is none."""
    for token in tokens:
        if isinstance(document, list):
            document = document[int(token)] if token.isdigit() and int(token) < len(document) else None
        elif isinstance(document, dict):
            document = document.get(token)
        else:
            return None
    return document
