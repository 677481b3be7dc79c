"""Writes the references in `docs/` from the code: settings, metrics, REST.

`python -m backend.app.reference` writes, `--check` only compares and exits 1 when a file has drifted.
"""

import json
import sys
from collections.abc import Callable, Mapping

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from . import __version__
from .api.router import build_router, new_api
from .contracts.generate import run
from .observability.metrics import Metrics
from .settings import Settings


def settings_table() -> str:
    """docs/SETTINGS.md."""
    lines = [
        "# Settings",
        "",
        "Every setting is an environment variable; the command line's options override it.",
        "Written by `make docs` from `backend/app/settings.py`.",
        "",
        "| variable | default | range | meaning |",
        "|---|---|---|---|",
    ]
    lines += [_settings_row(name, field) for name, field in Settings.model_fields.items()]
    return "\n".join(lines) + "\n"


def _settings_row(name: str, field: FieldInfo) -> str:
    default = field.default
    shown = "" if default is PydanticUndefined else _show(default)
    return f"| `VOUCHSTORM_{name.upper()}` | {shown} | {_range(field)} | {field.description} |"


def _show(value: object) -> str:
    if value is None:
        return "not set"
    if value == ():
        return "empty"
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _range(field: FieldInfo) -> str:
    class Probe(BaseModel):
        value: field.annotation  # type: ignore[name-defined]

    schema = Probe.model_json_schema()["properties"]["value"]
    for item in field.metadata:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(item, name, None) is not None:
                schema[name] = getattr(item, name)
    low = str(schema["ge"]) if "ge" in schema else f"above {schema['gt']}" if "gt" in schema else ""
    high = str(schema.get("le", ""))
    if low or high:
        return f"{low} to {high}"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    return ""


def metrics_table() -> str:
    """docs/METRICS.md."""
    metrics = Metrics(__version__, "node")
    lines = [
        "# Metrics",
        "",
        "What a node serves at `/metrics`. From `backend/app/observability/metrics.py`.",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
    ]
    for metric in sorted(metrics.registry.collect(), key=lambda found: found.name):
        if metric.name.startswith(("python_", "process_")):
            continue
        collector = metrics.registry._names_to_collectors[metric.name]
        labels = sorted(getattr(collector, "_labelnames", ()))
        name = metric.name + ("_total" if metric.type == "counter" else "")
        lines.append(
            f"| `{name}` | {metric.type} | {', '.join(f'`{label}`' for label in labels)} "
            f"| {metric.documentation} |"
        )
    lines += ["", "`process_*` and `python_*` are those of the Prometheus client library."]
    return "\n".join(lines) + "\n"


def openapi() -> str:
    """docs/openapi.json."""
    app = new_api()
    app.include_router(build_router())
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


FILES: Mapping[str, Callable[[], str]] = {
    "docs/SETTINGS.md": settings_table,
    "docs/METRICS.md": metrics_table,
    "docs/openapi.json": openapi,
}

if __name__ == "__main__":
    sys.exit(run(FILES, sys.argv[1:]))
