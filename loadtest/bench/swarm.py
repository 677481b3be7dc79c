"""One kind of asyncio client as a child process of the client bench.

    python -m loadtest.bench.swarm lean --port 8000 --clients 1000

Connects so many, receives until SIGTERM, then prints {"received": n} and what its ledger found. It measures
nothing itself: `clients` reads its CPU time and memory from outside.
"""

import argparse
import asyncio
import json
import signal

import uvloop

from .generator_peers import PEERS, Peer


async def take_part(peer: Peer, port: int, clients: int) -> None:
    """Connect, receive until told to end, report."""
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await peer.connect(port, clients)
    await ended.wait()
    print(json.dumps({"received": peer.arrivals.count, **peer.findings()}), flush=True)
    await peer.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m loadtest.bench.swarm", description=__doc__)
    parser.add_argument("peer", choices=list(PEERS))
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, required=True)
    options = parser.parse_args()
    uvloop.run(take_part(PEERS[options.peer](), options.port, options.clients))


if __name__ == "__main__":
    main()
