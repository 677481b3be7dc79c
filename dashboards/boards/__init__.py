"""The boards, in the order in which Grafana lists them."""

from ..model import Board
from . import bus, domain, fanout, load, overview, storm

BOARDS: tuple[Board, ...] = (
    overview.BOARD,
    fanout.BOARD,
    storm.BOARD,
    bus.BOARD,
    domain.BOARD,
    load.BOARD,
)
