"""What a scenario says about Vouchstorm: its claims, who validates them, how a server of it is started.

Imports nothing of the backend, so that scenarios are read without it.
"""

from collections.abc import Sequence
from typing import Self

from pydantic import Field, model_validator

from ...scenario.models import Scenario, Table
from ...scenario.schedule import stream
from ...target.server import Commands
from .personas import EVERYDAY, cast


class Claims(Table):
    """What is validated. count: 0 = as many as the schedule needs so that traffic does not dry out.

    quorum: validations per claim that the schedule plans at most, and the claim's own quorum.
    popularity_zipf: exponent of the popularity; 0 = all the same, 1 = a few get most.
    """

    count: int = Field(0, ge=0, le=100_000)
    quorum: int = Field(5, ge=1, le=100_000)
    popularity_zipf: float = Field(0.8, ge=0, le=5)


class Personas(Table):
    """Mix of validators, as relative shares; `personas` says what each does."""

    reliable: float = Field(0.7, ge=0)
    contrarian: float = Field(0.05, ge=0)
    careless: float = Field(0.1, ge=0)
    brigade: float = Field(0.05, ge=0)
    lurker: float = Field(0.1, ge=0)

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        if self.reliable + self.contrarian + self.careless <= 0:
            raise ValueError("reliable, contrarian or careless must be above 0: somebody has to validate")
        return self

    @property
    def everyday_share(self) -> float:
        """The share of users who validate in the ordinary course."""
        everyday = self.reliable + self.contrarian + self.careless
        return everyday / (everyday + self.brigade + self.lurker)


class VouchstormScenario(Scenario):
    """A scenario with the tables of Vouchstorm; the schedules of all profiles draw from them."""

    claims: Claims = Claims()
    personas: Personas = Personas()

    @property
    def validations_per_claim(self) -> int:
        """How many validations a claim is planned to take at most; one of the validators may own it."""
        validators = round(self.users * self.personas.everyday_share)
        return min(self.claims.quorum, max(1, validators - 1))

    @property
    def claims_needed(self) -> int:
        """How many claims the run uses: as named, or enough that traffic does not dry out."""
        return self.claims.count or -(-self.publishes * 6 // (5 * self.validations_per_claim)) + 2

    @property
    def popularity_zipf(self) -> float:
        """As `claims.popularity_zipf` says."""
        return self.claims.popularity_zipf

    def people(self, users: int) -> list[str]:
        """The persona of each of so many users."""
        return cast(users, self.personas.model_dump(), stream(self.seed, "personas"))

    def publishers(self, users: int) -> list[int]:
        """Those with an everyday persona."""
        return [user for user, persona in enumerate(self.people(users)) if persona in EVERYDAY]

    def needs(self) -> dict[str, int]:
        """Claims and their quorum as well."""
        return super().needs() | {"claims": self.claims_needed, "quorum": self.claims.quorum}

    def profile_problems(self) -> list[str]:
        """Too few claims or users for the schedule; no other profile minds."""
        if self.profile != "vouchstorm":
            return []
        if self.users < 2:
            return ["clients: at least two users are needed, for nobody validates an own claim."]
        count, most = self.claims.count, self.claims.count * self.validations_per_claim
        if not count or most >= self.publishes:
            return []
        problem = (
            f"claims.count: {count} claims take {most} validations at most and the schedule holds "
            f"{self.publishes}; raise claims.count or claims.quorum, or leave the count at 0."
        )
        return [problem]


def server_commands(
    ours: Sequence[str], nodes: int | None = None, token_ttl_s: int | None = None
) -> Commands:
    """How a server of ours is started and seeded; nodes: of a full stack, None for the embedded one."""
    env = {} if token_ttl_s is None else {"VOUCHSTORM_TOKEN_TTL_S": str(token_ttl_s)}
    data = ["--data-dir", "{data_dir}/data"]
    common = ["--seed", "{seed}", "--tokens", "{tokens_file}", "--claims-file", "{rooms_file}"]
    if nodes is None:
        serving = [*ours, "serve", "--port", "0", *data, "--log-level", "warning"]
        sizes = ["--users", "{users}", "--claims", "{claims}", "--quorum", "{quorum}"]
        return Commands(serving, [*ours, "seed", *sizes, *common, *data], env)
    sizes = ["--seed-users", "{users}", "--seed-claims", "{claims}", "--seed-quorum", "{quorum}"]
    wanted = ["--stack", "full", "--nodes", str(nodes), "--port", "0", *data]
    return Commands([*ours, "up", *wanted, *sizes, *common], env=env, status=[*ours, "status", *data])
