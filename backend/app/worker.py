"""One worker of a group as a process: `python -m backend.app.worker --host H --port P --slot K`.

Started by `supervisor.py` only, which holds the other ends of three lines. Standard input brings what it
knows of the group, one JSON document a line; its end means that the supervisor is gone, so the worker leaves
too. Standard output carries one report: ready, or why not. Standard error is the log. Settings come by
environment.
"""

import argparse
import json
import os
import signal
import socket
import sys
import threading
import time
from typing import IO

from .errors import SetupError
from .main import Application, create_app
from .observability.logs import configure_logging
from .process import node
from .settings import Settings, load_settings
from .worker_metrics import Group, GroupMetrics, PrivatePage, parse_news

EXIT_SETUP = 3
ORPHAN_GRACE_S = 20.0
"""Beyond the drain time: an orphan whose event loop is stuck ends nevertheless."""


class Lifeline:
    """The supervisor's end of standard input: brings news, and its end is the signal to leave."""

    def __init__(self, lines: IO[str], grace_s: float) -> None:
        self._lines = lines
        self._grace_s = grace_s
        self._group = Group()
        self._thread = threading.Thread(target=self._follow, name="lifeline", daemon=True)

    def group(self) -> Group:
        """The group as last heard of."""
        return self._group

    def start(self) -> None:
        self._thread.start()

    def _follow(self) -> None:
        # A thread, so that it works while the event loop does not.
        for line in self._lines:
            self._group = parse_news(line)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._grace_s)
        os._exit(1)


def main(arguments: list[str]) -> int:
    """Serve until SIGTERM; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", required=True, type=int)
    parser.add_argument("--slot", required=True)
    asked = parser.parse_args(arguments)
    try:
        settings = load_settings()
        configure_logging(settings.log_level, settings.log_format, settings.node or f"worker-{asked.slot}")
        sock = node.listen(asked.host, asked.port, reuse_port=True)
        _serve(settings, sock, asked.slot)
    except SetupError as error:
        _report(error=str(error))
        return EXIT_SETUP
    return 0


def _serve(settings: Settings, sock: socket.socket, slot: str) -> None:
    lifeline = Lifeline(sys.stdin, settings.drain_s + ORPHAN_GRACE_S)
    lifeline.start()
    pages: list[PrivatePage] = []

    def build(settings: Settings) -> Application:
        application = create_app(settings)
        render = application.services.metrics.render
        pages.append(PrivatePage(render))
        pages[-1].start()
        application._handle = GroupMetrics(application._handle, slot, render, lifeline.group)
        return application

    def announce(url: str, name: str) -> None:
        _report(ready=True, url=url, pid=os.getpid(), node=name, metrics_port=pages[-1].port)

    # `run_node` builds the application itself; in this process, which does nothing else, it builds ours.
    setattr(node, "create_app", build)  # noqa: B010
    node.run_node(settings, sock, announce)


def _report(**facts: object) -> None:
    print(json.dumps(facts), flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
