"""A Locust user that loses its connection again while it catches up comes back once more.

In a process of its own: Locust patches the standard library when it is imported.
"""

import json
import subprocess
import sys

SCRIPT = """
import json
from collections import Counter
from types import SimpleNamespace

from loadtest.base_user import Member, SocketMember

opened = []
room = SimpleNamespace(
    recoveries=Counter(), handler_errors=0, closed=lambda: None,
    time_of=lambda *_: None, measure=lambda *_: None, fail=lambda *_: None,
)


class Person(SocketMember):
    def _open(self):
        opened.append(self)
        self.sock = SimpleNamespace(handler_errors=0, drop=lambda: None)
        self._authenticated.set(True)
        return {}

    def catch_up(self, body):
        if len(opened) == 1:
            self.on_lost("node killed")
        self.caught_up.set()


person = Person.__new__(Person)
person.room = room
person.rng = SimpleNamespace(uniform=lambda *_: 0.0)
Member.__init__ = lambda self, environment: None
SocketMember.__init__(person, None)
person.go_away(0.0)
person._returning.join(timeout=20)
dead = person._returning.dead
print(json.dumps({"opened": len(opened), "recoveries": dict(room.recoveries), "dead": dead}))
"""


def test_a_connection_lost_while_catching_up_is_replaced() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"opened": 2, "recoveries": {"drops": 2, "reconnected": 2}, "dead": True}
