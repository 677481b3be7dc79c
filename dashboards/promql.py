"""PromQL as text: the few shapes that the boards use, and what can be read off a query. Pure."""

import re
from collections.abc import Iterable

JOB = 'job="vouchstorm"'
NODE = f'{JOB},instance=~"$node"'
WINDOW = "$__rate_interval"

_TEXTS = re.compile(r'"(?:[^"\\]|\\.)*"')
_NOT_METRICS = re.compile(
    r"\{[^}]*\}"  # matchers
    r"|\[[^\]]*\]"  # ranges
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)"
    r"|\boffset\s+-?\w+"
)
_NAMES = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\(|[a-zA-Z0-9_:])")
_KEYWORDS = frozenset(("and", "or", "unless", "bool", "inf", "nan"))


def per_s(metric: str, *, by: str = "", matching: str = "", scope: str = NODE) -> str:
    """Sum of a counter's rates. by: labels to keep. matching: further matchers. scope: of which targets."""
    return f"sum{_by(by)}(rate({metric}{{{_both(scope, matching)}}}[{WINDOW}]))"


def quantile(q: float, metric: str, *, by: str = "", matching: str = "", scope: str = NODE) -> str:
    """A quantile of a histogram over all its series; never an average of quantiles."""
    buckets = per_s(f"{metric}_bucket", by=f"le, {by}" if by else "le", matching=matching, scope=scope)
    return f"histogram_quantile({q:g}, {buckets})"


def busy(metric: str, *, by: str, scope: str = NODE) -> str:
    """Rates by labels, only of the values that occur; `none` stands for all the others, at 0."""
    last = by.split(",")[-1].strip()
    none = f'label_replace(0 * {per_s(metric, scope=scope)}, "{last}", "none", "", "")'
    return f"({per_s(metric, by=by, scope=scope)} > 0) or {none}"


def ratio(part: str, whole: str) -> str:
    """A share; 0 while there is no traffic at all."""
    return f"{part} / ({whole} > 0) or 0 * {whole}"


def level(metric: str, *, by: str = "", matching: str = "", scope: str = NODE) -> str:
    """Sum of a gauge."""
    return f"sum{_by(by)}({metric}{{{_both(scope, matching)}}})"


def lowest(metric: str, *, by: str, scope: str = NODE) -> str:
    """The worst of the workers, where a gauge says whether all is well."""
    return f"min{_by(by)}({metric}{{{scope}}})"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


def _both(first: str, second: str) -> str:
    return f"{first},{second}" if second else first


def metrics_of(expr: str) -> set[str]:
    """Names of the metrics that a query reads, as they are in the exposition (with `_bucket` and its kin)."""
    bare = _NOT_METRICS.sub(" ", _TEXTS.sub('""', expr))
    return {name for name in _NAMES.findall(bare) if name.lower() not in _KEYWORDS}


def families_of(names: Iterable[str]) -> set[str]:
    """The same without the endings that a histogram gives its series."""
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def resolved(expr: str, *, window: str, node: str = ".+") -> str:
    """The query as Grafana would send it, its variables filled in."""
    return expr.replace("$__rate_interval", window).replace("$__interval", window).replace("$node", node)
