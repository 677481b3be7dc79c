"""Scenarios: TOML in, one frozen and validated `Scenario` out, or every error at once.

Pure but for reading the named file. Called by the command line and the runner.
"""

import difflib
import json
import re
import tomllib
import types
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails

from .. import thresholds
from ..errors import ScenarioError
from .models import (
    Breakage,
    Claims,
    Fault,
    HonestyBounds,
    Live,
    NamedService,
    Personas,
    Phases,
    Publish,
    Reconnect,
    ServerSpec,
    Table,
    Tokens,
    Transports,
    Windows,
)

# Validation errors as sentences: the key's path, what is wrong, what was given, what was perhaps
# meant.
#
# Pure; called by the scenario and by profiles that read TOML.


def sentence(root: type[BaseModel], item: ErrorDetails) -> str:
    """One validation error of a `root` document as a sentence that begins with the key's path."""
    path = [str(part) for part in item["loc"] if not _is_tag(part)]
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


def _is_tag(part: object) -> bool:
    return part in _TAGS


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


AnyFault = Annotated[Fault | Breakage, Field(discriminator="kind")]


class Scenario(Table):
    """One run, fully described. clients: sockets; users = clients / sockets_per_user, rounded up."""

    name: str = Field("unnamed", min_length=1, max_length=64, pattern=r"^[a-z0-9][a-z0-9-]*$")
    question: str = Field("", description="What the run answers, in one sentence.")
    profile: Literal["vouchstorm", "generic", "echo"] = "vouchstorm"
    seed: int = Field(1, ge=0, le=2**31 - 1)
    clients: int = Field(300, ge=1, le=200_000)
    sockets_per_user: int = Field(1, ge=1, le=100)
    processes: int = Field(
        1, ge=0, le=64, description="Processes that hold the clients; 0: one per 5,000, up to the free cores."
    )
    duration_s: float = Field(30.0, gt=0, le=86_400)
    transports: Transports = Transports()
    live: Live = Live()
    claims: Claims = Claims()
    publish: Publish = Publish()
    personas: Personas = Personas()
    phases: Phases = Phases()
    reconnect: Reconnect = Reconnect()
    tokens: Tokens = Tokens()
    windows: Windows = Windows()
    honesty: HonestyBounds = HonestyBounds()
    faults: tuple[AnyFault, ...] = ()
    services: dict[str, NamedService] = Field({}, description="What faults may break at a --url target.")
    slo: dict[str, float] = Field({}, description="Limits by name; see simulator/thresholds.py.")
    server: ServerSpec | None = None

    @property
    def users(self) -> int:
        """How many users the clients belong to."""
        return -(-self.clients // self.sockets_per_user)

    @property
    def publishes(self) -> int:
        """How many publishes the constant schedule holds, warm-up included."""
        return round((self.duration_s + self.phases.warmup_s) * self.publish.rate_per_s)

    @property
    def publishes_held(self) -> int:
        """How many of them the ledger holds at most: what is settled is let go of (see `retirement`), unless
        the server promises to keep it for those who are away."""
        keeps_all = self.server is not None and self.server.rooms.durable
        return self.publishes if keeps_all else min(self.publishes, round(HELD_S * self.publish.rate_per_s))

    @property
    def validations_per_claim(self) -> int:
        """How many validations a claim is planned to take at most; one of the validators may own it."""
        validators = round(self.users * self.personas.everyday_share)
        return min(self.claims.quorum, max(1, validators - 1))


LEDGER_LIMIT_BYTES = 2 * 2**30
HELD_S = 300.0
"""What is not settled after that time is lost, and rare."""


def build(data: Mapping[str, Any]) -> Scenario:
    """A scenario from plain data.

    Raises:
        ScenarioError: one sentence for each thing that is wrong, with the path of its key.
    """
    try:
        scenario = Scenario.model_validate(data)
    except ValidationError as error:
        wrong = [sentence(Scenario, item) for item in error.errors(include_url=False)]
        table = data.get("slo")
        raise ScenarioError(wrong + (_slo_problems(table) if isinstance(table, Mapping) else [])) from error
    problems = _problems(scenario)
    if problems:
        raise ScenarioError(problems)
    return scenario


def read(text: str, name: str) -> Scenario:
    """A scenario from TOML text; `name` is used when the text has none. Raises ScenarioError."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ScenarioError([f"{name}: this is not TOML: {error}."]) from error
    return build({"name": name, **data})


def load(name_or_path: str) -> Scenario:
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
    clients: int | None = None,
    duration_s: float | None = None,
    rate_per_s: float | None = None,
    seed: int | None = None,
    profile: str | None = None,
    processes: int | None = None,
    slo: Mapping[str, float] | None = None,
    server: Mapping[str, Any] | None = None,
) -> Scenario:
    """The scenario with some values replaced, validated again; None means not given. Raises ScenarioError."""
    data = scenario.model_dump(mode="json")
    named = {
        "clients": clients,
        "duration_s": duration_s,
        "seed": seed,
        "profile": profile,
        "processes": processes,
        "server": server,
    }
    data |= {key: value for key, value in named.items() if value is not None}
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
    if scenario.profile == "vouchstorm":
        found += _capacity_problems(scenario)
    return found


def _capacity_problems(scenario: Scenario) -> list[str]:
    if scenario.users < 2:
        return ["clients: at least two users are needed, for nobody validates an own claim."]
    count, most = scenario.claims.count, scenario.claims.count * scenario.validations_per_claim
    if count and most < scenario.publishes:
        problem = (
            f"claims.count: {count} claims take {most} validations at most and the schedule holds "
            f"{scenario.publishes}; raise claims.count or claims.quorum, or leave the count at 0."
        )
        return [problem]
    return []


def _slo_problems(table: Mapping[str, Any]) -> list[str]:
    return [thresholds.unknown(name) for name in table if name not in thresholds.KNOWN]


def _question(text: str) -> str:
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    return " ".join(lines).strip()


def _slug(text: str) -> str:
    slug = "".join(char if char.isalnum() else "-" for char in text.lower()).strip("-")
    return slug[:64] or "unnamed"


# A scenario as TOML text again, so that a run directory holds what can be run once more.
#
# Only what scenarios are made of: tables, lists of tables, strings, numbers, booleans and flat lists;
# null is
# left out, as it is the default wherever it is allowed. The standard library reads TOML and does not
# write it.
# Pure; called by the run directory.

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def scenario_toml(scenario: Scenario) -> str:
    """The resolved scenario, every field named; `simulator.scenario.read` gives an equal one back."""
    return toml_text(scenario.model_dump(mode="json"))


def toml_text(table: Mapping[str, Any]) -> str:
    """A mapping as a TOML document. Raises TypeError for what TOML cannot hold here."""
    return "\n".join(_table(table, ())).strip("\n") + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    present = {key: value for key, value in table.items() if value is not None}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in present.items() if not _is_table(value)]
    for key, value in present.items():
        inner = (*path, key)
        name = ".".join(map(_key, inner))
        if isinstance(value, Mapping):
            lines += ["", f"[{name}]", *_table(value, inner)]
        elif _is_table(value):
            for row in value:
                lines += ["", f"[[{name}]]", *_table(row, inner)]
    return lines


def _is_table(value: Any) -> bool:
    """Whether it gets a header of its own: a mapping, or a list of nothing but mappings."""
    return isinstance(value, Mapping) or (
        isinstance(value, Sequence) and bool(value) and all(isinstance(row, Mapping) for row in value)
    )


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"{type(value).__name__} has no place in a scenario")


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    """A basic string: the escapes of JSON are those of TOML, which wants DEL escaped as well."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
