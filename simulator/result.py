"""The result of a run: one JSON document, typed here, its JSON Schema committed as docs/result.schema.json.

`Findings` is what was measured; `Result` adds the judgement. Field names are a contract (`schema_version`):
fields may be added, never renamed.
"""

from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

Verdict = Literal["PASS", "FAIL", "INVALID", "INTERRUPTED"]


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Latency(Part):
    """A distribution in milliseconds. All percentiles are 0 when `count` is 0."""

    count: int = 0
    min: float = 0.0
    p50: float = 0.0
    p90: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    p999: float = 0.0
    max: float = 0.0
    hdr: str = Field(
        "", description="HdrHistogram V2 in microseconds, deflated, base64; empty when count is 0."
    )


class Phase(Part):
    """A stretch of the run; times in seconds from the start of the run."""

    name: Literal["setup", "connect", "warmup", "load", "drain", "reconcile"]
    started_s: float
    ended_s: float
    note: str = ""


class Host(Part):
    """The machine of the generator."""

    cpus: int = Field(0, description="Processors this process may use.")
    kernel: str = ""
    python: str = ""
    memory_bytes: int = 0
    limits: dict[str, int] = Field({}, description="Resource limits; -1 is unlimited.")
    load_average: float = Field(0.0, description="One-minute load average when the run began.")


class Connections(Part):
    attempted: int = 0
    established: int = Field(0, description="Clients that were connected and ready at least once.")
    failed: int = Field(0, description="Clients that never got there.")
    peak: int = 0
    refused: int = Field(0, description="Refusals by the server, of all attempts.")
    expired: int = Field(0, description="Ended by the server because their token had expired.")
    renewed_tokens: int = Field(0, description="New tokens that clients asked for in time, or to come back.")
    failures: dict[str, int] = Field({}, description="Reasons of those that failed, the most frequent.")


class Publishes(Part):
    """What the schedule asked for and what became of it: scheduled = sent + dropped (+ rest if cut short)."""

    scheduled: int = 0
    sent: int = 0
    accepted: int = 0
    refused: int = Field(0, description="Legitimately refused by the domain's rules.")
    failed: int = Field(0, description="Errors and time-outs.")
    dropped: int = Field(0, description="Found no free worker at their time.")
    late: int = Field(0, description="Sent later than the late bound after their time.")
    refusals: dict[str, int] = {}
    failures: dict[str, int] = {}


class Ledger(Part):
    """expected = live + replayed + superseded + out_of_order + late + lost + unverified (owed pairs), and
    received = live + replayed + out_of_order + late + duplicate + misrouted + unowed (receipts), see
    `simulator/ledger/ledger.py`.
    """

    expected: int = 0
    live: int = 0
    replayed: int = 0
    superseded: int = Field(0, description="Snapshots overtaken by a newer version this client did get.")
    out_of_order: int = 0
    late: int = 0
    lost: int = 0
    unverified: int = 0
    duplicate: int = 0
    misrouted: int = 0
    unowed: int = Field(0, description="Receipts a client was entitled to, though nobody owed it to it.")
    received: int = 0
    reread: int = Field(0, description="Answers to a client's own question for something it already held.")
    balanced: bool = Field(True, description="Whether both identities hold.")


class Recovery(Part):
    """How absences ended: drops = full + reloaded + silent_hole + censored."""

    full: int = Field(0, description="Everything missed was replayed.")
    reloaded: int = Field(0, description="Told honestly that it was not; read anew where that is possible.")
    silent_hole: int = Field(0, description="Caught up, it seemed, yet something is missing untold.")


class Reconnect(Part):
    """Times count from the moment a client was allowed back: the drop itself, or the end of its absence."""

    drops: int = 0
    reconnected: int = 0
    censored: int = Field(0, description="Not back, or not caught up, when the window closed.")
    time_to_reconnect: Latency = Latency()
    time_to_first_event: Latency = Latency()
    time_to_caught_up: Latency = Latency()
    outage: Latency = Field(Latency(), description="From the drop to caught up, absence included.")
    recovery: Recovery = Recovery()
    stopped_reading: int = Field(0, description="Clients that stopped taking bytes, on purpose.")
    ended_by_server: int = Field(0, description="Those of them that the server ended before they read again.")


class Conservation(Part):
    checked: int = Field(0, description="Facts compared.")
    violations: list[str] = Field([], description="The first hundred.")
    violation_count: int = 0
    note: str = ""


class GeneratorProcess(Part):
    """One process of the harness about itself; the one without clients publishes and reads back."""

    name: str
    clients: int = 0
    loop_lag_ms: Latency = Latency()
    cpu_share: float = 0.0
    rss_bytes: int = 0


class Generator(Part):
    """The harness about itself; CPU and memory are those of all its processes together. CPU, receipts and
    loop lag are those of the load, without warm-up, drain and reading back."""

    processes: int = Field(1, description="Processes that hold clients.")
    by_process: list[GeneratorProcess] = []
    lost_processes: list[str] = Field([], description="A sentence for each process that was lost.")
    loop_lag_ms: Latency = Field(Latency(), description="Of the process that was latest.")
    late_publishes: int = 0
    cpu_share: float = Field(0.0, description="CPU of the generator during the load, of one core.")
    cpu_us_per_receipt: float = 0.0
    rss_bytes: int = 0
    bytes_per_connection: int = Field(0, description="Growth of the processes while the clients connected.")
    source_addresses: int = 1
    handler_errors: int = Field(0, description="Events the harness itself failed to understand.")
    overrun: str = Field("", description="The phase that did not end in its time; empty when all did.")
    failed_faults: list[str] = Field([], description="Faults that did not come about, or did not heal.")


class Server(Part):
    """What was seen of the target; zeros where it is not a child of the run. CPU, deliveries, growth and
    counters are those of the load, without warm-up and drain."""

    managed: bool = False
    died: str = Field("", description="How the target ended before its time; empty when it did not.")
    unreachable: bool = False
    cpu_share: float = 0.0
    cpu_share_by_service: dict[str, float] = Field({}, description="Of those that lived all the time.")
    cpu_us_per_delivery: float = 0.0
    rss_bytes: int = 0
    rss_growth_bytes: int = 0
    metrics: dict[str, float] = Field({}, description="Growth of its Prometheus counters over the load.")


class FaultMark(Part):
    at_s: float
    until_s: float
    kind: str
    clients: int = 0
    note: str = ""

    def covers(self, at_s: float) -> bool:
        """Whether it is under way, or was within the last second: a drop takes no time at all."""
        return self.at_s <= at_s <= max(self.until_s, self.at_s + 1.0)


class Hostile(Part):
    """What strangers did beside the honest clients, and what the server did about it."""

    inputs: int = 0
    connections: int = 0
    refused: int = Field(0, description="Connections that did not come about or broke while they were used.")
    ended: int = Field(0, description="Connections that the server ended.")
    server_errors: int = Field(0, description="Answers of the class 5xx, closes that blame the server.")


class Second(Part):
    """One second of the load, from its start; latencies in ms, by time of receipt."""

    t_s: int
    published: int = 0
    delivered: int = 0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    connected: int = 0
    reconnecting: int = 0
    faults: list[str] = []


class Level(Part):
    """One service level as judged. `measured` is null when nothing came about to measure, or never ended."""

    name: str
    unit: str
    limit: float
    at_most: bool
    measured: float | None
    held: bool
    meaning: str = ""


class Findings(Part):
    """Everything measured, before judgement."""

    schema_version: Literal[1] = 1
    scenario: dict[str, Any]
    seed: int
    target: str
    versions: dict[str, str]
    host: Host
    started_at: str
    duration_s: float = 0.0
    interrupted: bool = False
    phases: list[Phase] = []
    connections: Connections = Connections()
    publishes: Publishes = Publishes()
    ledger: Ledger = Ledger()
    ledger_by_kind: dict[str, Ledger] = Field({}, description="The same per kind of message.")
    latency_ms: dict[str, Latency] = {}
    reconnect: Reconnect = Reconnect()
    conservation: Conservation = Conservation()
    generator: Generator = Generator()
    server: Server = Server()
    hostile: Hostile = Hostile()
    faults: list[FaultMark] = []
    timeline: list[Second] = []
    notes: list[str] = []


class Result(Findings):
    """Findings and their judgement. `reasons` says in sentences why the verdict is what it is."""

    verdict: Verdict
    exit_code: int
    reasons: list[str] = []
    slo: list[Level] = []


def to_json(result: Result) -> str:
    """The document as indented JSON, fields in declared order, verdict first."""
    body = result.model_dump(mode="json")
    first = {"schema_version": body.pop("schema_version")}
    first |= {key: body.pop(key) for key in ("verdict", "exit_code", "reasons", "slo")}
    return _dumps(first | body)


def from_json(text: str) -> Result:
    """A result read back. Raises pydantic.ValidationError when it is not one."""
    return Result.model_validate_json(text)


def schema_json() -> str:
    """The JSON Schema document of a result, as committed in docs/result.schema.json."""
    schema = Result.model_json_schema(mode="serialization")
    return _dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}) + "\n"


def _dumps(body: object) -> str:
    return orjson.dumps(body, option=orjson.OPT_INDENT_2).decode()
