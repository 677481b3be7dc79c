"""What the composition root built, handed to routes and handlers as one value."""

from dataclasses import dataclass

from ..observability.metrics import Metrics
from ..ports import Clock, Ids, Store
from ..settings import Settings
from .accounts import Accounts
from .claims import Claims
from .consensus_engine import ConsensusEngine
from .health import Health
from .notification_service import NotificationService
from .tokens import Tokens
from .websocket_service import WebSocketService


@dataclass(frozen=True, slots=True)
class Services:
    """One node's services; built once per application in `main.create_app`."""

    settings: Settings
    node: str
    store: Store
    clock: Clock
    ids: Ids
    metrics: Metrics
    health: Health
    tokens: Tokens
    accounts: Accounts
    claims: Claims
    engine: ConsensusEngine
    notifications: NotificationService
    websocket: WebSocketService
