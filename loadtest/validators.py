"""`ValidatorUser`: answers claims over REST, and says when each answer was meant to be published."""

import time
from typing import Any

import gevent
import orjson
from locust import task
from locust.env import Environment

from simulator.profiles.vouchstorm import personas

from .base_user import Member
from .latency import consensus_key, notification_key, version_key
from .shared_state import count

LEGITIMATE = frozenset(("claim_settled", "already_validated", "own_claim"))
LATE_NS = 100_000_000
BROWSE_EVERY_S = 3.0


class ValidatorUser(Member):
    """Answers claims on an open schedule: due times do not wait for answers, latencies count from them."""

    weight = 2

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self.persona = self.rng.choices(personas.EVERYDAY, (8, 1, 1))[0]
        self.answered: set[str] = set()
        self.due_ns = 0
        self.free_ns = 0
        self.browsed_ns = 0

    def on_start(self) -> None:
        """Become somebody, and begin at a moment of one's own."""
        super().on_start()
        self.due_ns = time.monotonic_ns()
        self.wait()  # type: ignore[no-untyped-call]  # Locust's own, which can be interrupted

    def wait_time(self) -> float:
        """Seconds until the next answer is due: Poisson, from the last due time and not from now."""
        self.due_ns += int(self.rng.expovariate(1 / self.room.options.think_s) * 1e9)
        return max(0.0, (self.due_ns - time.monotonic_ns()) / 1e9)

    @task
    def validate(self) -> None:
        """Answer one claim."""
        claim_id = self._choose()
        if claim_id is None:
            self.post_claim()
            return
        self.answered.add(claim_id)
        truth = personas.truth_of_claim(self.rng)
        self._post(claim_id, personas.answer(self.persona, truth, self.rng))

    def _choose(self) -> str | None:
        now_ns = time.monotonic_ns()
        if not len(self.room.claims):
            self._browse()
        elif now_ns - self.browsed_ns > BROWSE_EVERY_S * 1e9:
            self.browsed_ns = now_ns
            gevent.spawn(self._browse)  # beside the answer: that one is due now
        return self.room.claims.pick(self.rng, self.person.user_id, self.answered)

    def _browse(self) -> None:
        """Look what is open: claims of other processes are found this way."""
        page = self.ask("GET", "/api/claims?status=open&limit=100", name="/api/claims")
        self.room.claims.learn((row["id"], row["owner_id"]) for row in (page or {"items": []})["items"])

    def _post(self, claim_id: str, action: str) -> None:
        room, due_ns, sent_ns = self.room, self.due_ns, time.monotonic_ns()
        room.publishes["scheduled"] += 1
        # Late is what this process is to blame for: not a server that still had the last answer in hand.
        room.publishes["late"] += sent_ns - max(due_ns, self.free_ns) > LATE_NS
        with self.client.post(
            f"/api/claims/{claim_id}/validations",
            name="POST /api/claims/[id]/validations",
            headers=self.headers() | {"Idempotency-Key": f"{self.person.user_id}-{claim_id}"},
            json={"action": action},
            catch_response=True,
        ) as response:
            self.free_ns = time.monotonic_ns()
            room.publishes["sent"] += 1
            body = _load(response.content)
            if response.status_code in (200, 201):
                response.success()
                room.time_of("http", self.free_ns - sent_ns)
                self._accepted(body, due_ns)
            elif response.status_code == 409 and body.get("code") in LEGITIMATE:
                response.success()
                self._refused(claim_id, body["code"])
            else:
                reason = f"{response.status_code} {body.get('code', '')}".strip()
                response.failure(reason)
                room.publishes["failed"] += 1
                count(room.failures, reason)

    def _accepted(self, body: Any, due_ns: int) -> None:
        room, validation, claim = self.room, body["validation"], body["claim"]
        room.publishes["accepted"] += 1
        claim_id, version = claim["id"], validation["version"]
        stamps = [(notification_key(validation["id"]), due_ns), (version_key(claim_id, version), due_ns)]
        if claim["status"] != "open":
            room.claims.settle(claim_id)
            if claim["version"] == version:
                stamps.append((consensus_key(claim_id), due_ns))
        room.book.publish(stamps)

    def _refused(self, claim_id: str, code: str) -> None:
        self.room.publishes["refused"] += 1
        count(self.room.refusals, code)
        if code == "claim_settled":
            self.room.claims.settle(claim_id)


def _load(content: Any) -> dict[str, Any]:
    try:
        body = orjson.loads(content or b"{}")
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}
