"""Scenarios: TOML in, one frozen and validated `Scenario` out, or every error at once.

Pure but for reading the named file.
"""

import difflib
import itertools
import tomllib
import types
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import tomli_w
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from .. import thresholds
from ..errors import ScenarioError
from ..profiles.registry import AnyScenario
from .models import Scenario

LEDGER_LIMIT_BYTES = 2 * 2**30


def sentence(root: type[BaseModel], item: ErrorDetails) -> str:
    """One validation error of a `root` document as a sentence that begins with the key's path."""
    path = [str(part) for part in item["loc"] if part not in _TAGS]
    where = ".".join(path) or "scenario"
    if item["type"] == "extra_forbidden":
        known = known_keys(root, item["loc"][:-1])
        near = difflib.get_close_matches(path[-1], known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        return f"{where}: unknown key.{hint} Known here are: {', '.join(known)}."
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    given = item.get("input")
    shown = f" (got {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{where}: {message[0].lower()}{message[1:]}{shown}."


_TAGS = {
    *("drop", "flap", "slow", "half_open"),
    *("kill", "restart", "deploy", "reload", "pause", "hostile"),
    *("delay", "bandwidth", "cut", "stall", "half_close", "refuse"),
    *("socket", "http"),
}


def known_keys(root: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """The keys of the table that a path of keys, indices and union tags leads to, in alphabetical order."""
    here: Any = root
    for part in loc:
        models = _models(here)
        if part in _TAGS:
            here = next((m for m in models if part in get_args(_tag(m))), here)
        elif isinstance(part, str):
            here = next((m.model_fields[part].annotation for m in models if part in m.model_fields), here)
    return sorted({name for model in _models(here) for name in model.model_fields})


def _tag(model: type[BaseModel]) -> Any:
    field = model.model_fields.get("kind") or model.model_fields.get("via")
    return field.annotation if field else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, Annotated, tuple, list, dict):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def build(data: Mapping[str, Any]) -> AnyScenario:
    """A scenario from plain data.

    Raises:
        ScenarioError: one sentence for each thing that is wrong, with the path of its key.
    """
    try:
        scenario = AnyScenario.model_validate(data)
    except ValidationError as error:
        wrong = [sentence(AnyScenario, item) for item in error.errors(include_url=False)]
        limits = data.get("slo")
        named = limits if isinstance(limits, Mapping) else {}
        wrong += [thresholds.unknown(name) for name in named if name not in thresholds.KNOWN]
        raise ScenarioError(wrong) from error
    if problems := _problems(scenario):
        raise ScenarioError(problems)
    return scenario


def read(text: str, name: str) -> AnyScenario:
    """A scenario from TOML text; `name` is used when the text has none. Raises ScenarioError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([f"{name}: this is not TOML: {error}."]) from error
    return build({"name": name, **data})


def load(name_or_path: str) -> AnyScenario:
    """A built-in scenario by name, or one from a TOML file by path. Raises ScenarioError."""
    path = Path(name_or_path)
    if path.suffix == ".toml" or path.is_file():
        try:
            return read(path.read_text(encoding="utf-8"), _slug(path.stem))
        except (OSError, UnicodeDecodeError) as error:
            raise ScenarioError([f"Cannot read the scenario {name_or_path}: {error}."]) from error
    known = list_builtin()
    if name_or_path not in known:
        near = difflib.get_close_matches(name_or_path, known, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise ScenarioError(
            [f"There is no scenario {name_or_path!r}.{hint} Known are: {', '.join(known)}; or name a file."]
        )
    text = resources.files(__package__).joinpath("builtin", f"{name_or_path}.toml").read_text("utf-8")
    return read(text, name_or_path)


def list_builtin() -> dict[str, str]:
    """Built-in scenarios: name -> the question it answers, from the comment that opens its file."""
    found: dict[str, str] = {}
    for entry in resources.files(__package__).joinpath("builtin").iterdir():
        if entry.name.endswith(".toml"):
            found[entry.name.removesuffix(".toml")] = _question(entry.read_text("utf-8"))
    return dict(sorted(found.items()))


def override(
    scenario: Scenario,
    *,
    rate_per_s: float | None = None,
    slo: Mapping[str, float] | None = None,
    **named: object,
) -> AnyScenario:
    """The scenario with some values replaced by name, validated again; None means not given. Limits of `slo`
    are added. Raises ScenarioError."""
    data = scenario.model_dump(mode="json")
    data |= {name: value for name, value in named.items() if value is not None}
    if rate_per_s is not None:
        data["publish"]["rate_per_s"] = rate_per_s
    data["slo"] |= slo or {}
    return build(data)


def _problems(scenario: Scenario) -> list[str]:
    found = thresholds.problems(scenario.slo)
    for index, fault in enumerate(scenario.faults):
        if fault.starts_s(scenario.duration_s) >= scenario.duration_s:
            found.append(
                f"faults.{index}: it begins after the load of {scenario.duration_s:g} s is over; "
                "move it, use at_share, or make the run longer."
            )
        away = getattr(fault, "away_s", None)
        if away is not None and not 0 <= away[0] <= away[1]:
            found.append(f"faults.{index}.away_s: give [least, most] with 0 <= least <= most.")
    if scenario.profile == "generic" and scenario.server is None:
        found.append("server: the generic profile needs a [server] table that describes the server.")
    held = scenario.publishes_held
    if scenario.clients * held * 8 > LEDGER_LIMIT_BYTES:
        found.append(
            f"clients, duration_s: {scenario.clients} clients and {held} publishes held would need "
            "a ledger of more than 2 GiB; lower one of them or publish.rate_per_s."
        )
    return found + scenario.profile_problems()


def _question(text: str) -> str:
    lines = itertools.takewhile(lambda line: line.startswith("#"), text.splitlines())
    return " ".join(line.lstrip("# ").rstrip() for line in lines).strip()


def _slug(text: str) -> str:
    slug = "".join(char if char.isalnum() else "-" for char in text.lower()).strip("-")
    return slug[:64] or "unnamed"


def scenario_toml(scenario: Scenario) -> str:
    """The resolved scenario; null, the default wherever it is allowed, is left out. `read` gives an equal one
    back. Raises TypeError where a list holds null."""
    return tomli_w.dumps(scenario.model_dump(mode="json", exclude_none=True))
