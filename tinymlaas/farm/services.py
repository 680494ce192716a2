"""Broker and store of a farm, found working before anything is begun."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from broker.connecting import connect, pauses
from broker.declaring import declare, find
from broker.errors import NotAllowed
from broker.link import Link
from broker.topology import Names, Topology
from storage.s3 import S3Store, open_s3
from tinymlaas.contract.errors import TinymlaasError
from tinymlaas.farm.process import Stop
from tinymlaas.farm_settings import FarmSettings
from tinymlaas.logs import get_logger

_SAY_AGAIN_SECONDS = 30.0
_DECLARE_AGAIN_SECONDS = 15.0
_log = get_logger(__name__)

T = TypeVar("T")


class Interrupted(Exception):
    """We were told to end before we had begun."""


@dataclass(frozen=True)
class Services:
    """What a process of the farm stands on."""

    names: Names
    store: S3Store
    wanted: Topology


def open_services(farm: FarmSettings, wanted: Topology, stop: Stop) -> Services:
    """Return store and topology once both are there; wait as long as they are not reached.

    Raises:
        Interrupted: `stop` came first.
        BrokerError, StoreError: one of them refuses us or cannot be used.
    """
    names = Names(farm.prefix)
    store = awaited(lambda: open_s3(farm.bucket, endpoint=farm.endpoint), stop)
    awaited(lambda: declare_all(farm.amqp_url, wanted), stop)
    return Services(names, store, wanted)


def declare_all(url: str, wanted: Topology) -> None:
    """Make the topology so, over a connection of its own; or, where our user may not, see that it
    is there.

    Raises:
        BrokerUnavailable: the broker does not answer, or lacks something that we may not make.
        BrokerError: it refuses.
    """
    connection = connect(url, "declare")
    try:
        declare(connection, wanted)
    except NotAllowed:
        find(connection, wanted)
    finally:
        with contextlib.suppress(Exception):  # it may be gone, which `declare` has told
            connection.close()


def awaited(ask: Callable[[], T], stop: Stop) -> T:
    """Return what `ask` returns, asking again while its failures are of the passing kind.

    Raises:
        Interrupted: `stop` came first.
        TinymlaasError: a failure that will not pass.
    """
    said = -_SAY_AGAIN_SECONDS
    for pause in pauses():
        try:
            return ask()
        except TinymlaasError as error:
            if not error.retryable:
                raise
            if time.monotonic() - said >= _SAY_AGAIN_SECONDS:
                _log.warning("trying again until it is there", reasons=error.reasons)
                said = time.monotonic()
        if stop.wait(pause):
            raise Interrupted
    raise AssertionError  # pragma: no cover - pauses never end


class Ready(Protocol):
    """What gets what it consumes, or does not."""

    @property
    def is_ready(self) -> bool:
        """Whether it does."""
        ...


class Redeclaring:
    """Declares anew whenever the broker may have forgotten: after each new connection.

    A broker killed right after a declaration may come back without that queue, and nobody could
    publish or consume until somebody declares it.
    """

    def __init__(self, url: str, wanted: Topology, publisher: Link, needed: Ready) -> None:
        """Watch the connection of `publisher`, and whether `needed` gets what it consumes."""
        self._url = url
        self._wanted = wanted
        self._publisher = publisher
        self._needed = needed
        self._epoch = 1
        self._at = time.monotonic()
        self._busy = threading.Lock()

    def look(self) -> None:
        """Declare if it is time to; to be called every few seconds, returns at once."""
        epoch, ready = self._publisher.epoch, self._publisher.is_ready
        late = time.monotonic() - self._at > _DECLARE_AGAIN_SECONDS
        again = epoch != self._epoch or (late and not self._needed.is_ready)
        if ready and again and self._busy.acquire(blocking=False):
            self._epoch, self._at = epoch, time.monotonic()
            threading.Thread(target=self._declare, name="declare", daemon=True).start()

    def _declare(self) -> None:
        try:
            declare_all(self._url, self._wanted)
        except TinymlaasError as error:
            _log.warning("queues not declared", reasons=error.reasons)
            self._epoch = 0  # try again
        finally:
            self._busy.release()
