"""The Locust users: validators answer claims, bells wait for notifications, watchers see counts move.

A push is measured from the moment at which the validator was due to publish until a bell or watcher received
it, in whichever process and on whichever machine that is. Bells and watchers keep a ledger each, and enter
what they should have received and did not as failures. Import or subclass them in a locustfile of your own.
"""

from .bells import BellUser
from .validators import ValidatorUser
from .watchers import WatcherUser

__all__ = ["BellUser", "ValidatorUser", "WatcherUser"]
