"""What each role may do on RabbitMQ: permissions of users, as data, by the topology's names.

A permission is three patterns (configure, write, read) on names of exchanges and queues; on a topic
exchange one more says under which routing keys may be published (write) and heard (read). Nobody
but the scheduler may publish to the default exchange, by which any queue can be written to.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from broker.topology import CANCEL_KEY, COMPILE_KEY, OUTCOME_KEY, SEEN_KEY, STATUS_KEY, Names

NOTHING = "^$"
_OWN = r"(reply\.|amq\.gen-).*"  # queues made for answers; exclusive, so their maker's alone
_SALT_BYTES = 4


@dataclass(frozen=True)
class TopicPower:
    """Patterns of the routing keys under which `exchange` may be written to and heard."""

    exchange: str
    write: str = NOTHING
    read: str = NOTHING


@dataclass(frozen=True)
class Power:
    """What one user may do; `administrator` is RabbitMQ's tag for its own management."""

    configure: str = NOTHING
    write: str = NOTHING
    read: str = NOTHING
    topics: tuple[TopicPower, ...] = ()
    administrator: bool = False


def operator() -> Power:
    """Everything: for a person, and for whoever starts the farm."""
    return Power(".*", ".*", ".*", administrator=True)


def scheduler(names: Names) -> Power:
    """All of this farm's exchanges and queues, which it declares, and every reply queue; its own,
    by which one in standby asks the active one how the farm stands, it reads.
    """
    own = rf"{re.escape(names.prefix)}(tinymlaas|compile|scheduler|dead|pool)\..+"
    return Power(f"^({_OWN}|{own})$", rf"^(amq\.default|{own})$", f"^({_OWN}|{own})$")


def worker(pool: str, names: Names) -> Power:
    """Take tasks of the own pool, say how they end under its name, hear whom to kill."""
    tasks = rf"{re.escape(names.pool(pool))}(\.DQ)?"
    said = f"^({OUTCOME_KEY}|{SEEN_KEY})\\.{re.escape(pool)}$"
    return Power(
        r"^amq\.gen-.*$",
        rf"^(amq\.gen-.*|{re.escape(names.workers)})$",
        rf"^(amq\.gen-.*|{tasks}|{re.escape(names.kills)})$",
        (TopicPower(names.workers, write=said),),
    )


def tenant(name: str, names: Names) -> Power:
    """Send requests under the own name, hear the own events."""
    verbs = "|".join((COMPILE_KEY, CANCEL_KEY, STATUS_KEY))
    return Power(
        f"^{_OWN}$",
        rf"^({_OWN}|{re.escape(names.requests)})$",
        rf"^({_OWN}|{re.escape(names.results)})$",
        (
            TopicPower(names.requests, write=rf"^({verbs})\.{re.escape(name)}$"),
            TopicPower(names.results, read=rf"^{re.escape(name)}\."),
        ),
    )


def permissions(powers: Mapping[str, Power], vhost: str = "/") -> dict[str, Any]:
    """Return the permissions of users, by name, as RabbitMQ's definitions have them."""
    return {
        "permissions": [
            {
                "user": name,
                "vhost": vhost,
                "configure": power.configure,
                "write": power.write,
                "read": power.read,
            }
            for name, power in powers.items()
        ],
        "topic_permissions": [
            {
                "user": name,
                "vhost": vhost,
                "exchange": topic.exchange,
                "write": topic.write,
                "read": topic.read,
            }
            for name, power in powers.items()
            for topic in power.topics
        ],
    }


def definitions(users: Mapping[str, tuple[str, Power]], vhost: str = "/") -> dict[str, Any]:
    """Return RabbitMQ's definitions of `users`, by name, each with its secret and power: what
    ``rabbitmqctl import_definitions`` and ``load_definitions`` read.
    """
    found = {
        "vhosts": [{"name": vhost}],
        "users": [
            {
                "name": name,
                "password_hash": _hashed(secret),
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": "administrator" if power.administrator else "",
            }
            for name, (secret, power) in users.items()
        ],
    }
    return found | permissions({name: power for name, (_, power) in users.items()}, vhost)


def _hashed(secret: str) -> str:
    """Return RabbitMQ's hash: four bytes of salt, and SHA-256 over them and the secret."""
    salt = os.urandom(_SALT_BYTES)
    return base64.b64encode(salt + hashlib.sha256(salt + secret.encode()).digest()).decode()
