"""One connection to RabbitMQ on a thread of its own, made again whenever it is lost.

The thread does nothing but the connection's work, so heartbeats are sent and acknowledgements go
out however long others compute. Driven by callbacks, not by pika's blocking calls: these wait for
ever if a quorum queue without a leader, as after a restart of the broker, leaves them unanswered.
"""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from broker.connecting import parameters, pauses

_READY_SECONDS = 15.0
_CLOSE_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_SAY_AGAIN_SECONDS = 30.0
_log = logging.getLogger(__name__)

Step = Callable[[Any, Callable[..., None]], None]  # (channel, go on): one question and its answer


class Link(ABC):
    """Base of consumer and publisher. Only the thread of the link touches pika's objects."""

    def __init__(self, url: str, name: str) -> None:
        """Remember where to connect; nothing is connected yet.

        Raises:
            BrokerError: the URL is malformed.
        """
        self._parameters = parameters(url, name)
        self._name = name
        self._thread = threading.Thread(target=self._run, name=f"broker-{name}", daemon=True)
        self._ending = threading.Event()
        self._ready = threading.Event()
        self._guard = threading.Lock()
        self._connection: Any = None
        self._channel: Any = None
        self._calls: list[Callable[[], None]] = []  # for the link's thread, which is woken
        self._said_at = -_SAY_AGAIN_SECONDS
        self.epoch = 0
        self._open = False
        self._times_open = 0

    @property
    def standing(self) -> tuple[bool, int]:
        """Whether there is a connection, and how many there have been."""
        return self._open, self._times_open

    @property
    def is_ready(self) -> bool:
        """Whether it is connected and has got all it asked for."""
        return self._ready.is_set()

    def await_ready(self, seconds: float) -> bool:
        """Wait until it is ready, `seconds` at most; return whether it is."""
        return self._ready.wait(seconds)

    def open(self) -> None:
        """Connect, in the background, and stay connected."""
        self._thread.start()

    def close(self) -> None:
        """End the connection in good order: what was said before is sent before."""
        self._ending.set()
        self.call(self._close_connection)
        if self._thread.is_alive():
            self._thread.join(_CLOSE_SECONDS)

    def call(self, work: Callable[[], None]) -> bool:
        """Have the link's thread do `work` if there is a connection; return whether there is."""
        with self._guard:
            if self._connection is None:
                return False
            self._calls.append(work)
            if len(self._calls) == 1:  # else it is woken already: each time is a system call
                self._connection.ioloop.add_callback_threadsafe(self._do_calls)
            return True

    def _do_calls(self) -> None:
        with self._guard:
            calls, self._calls = self._calls, []
        for work in calls:
            work()

    @abstractmethod
    def _steps(self) -> Sequence[Step]:
        """Return what is to be asked of a new channel, in order."""

    def _may_connect(self) -> bool:
        """Return whether there may be a connection now."""
        return True

    def _got_ready(self) -> None:  # noqa: B027 - not all have anything to note
        """Take note that all steps are done (in the link's thread)."""

    def _lost(self) -> None:  # noqa: B027
        """Take note that the connection is gone (in the link's thread)."""

    def _run(self) -> None:
        wait = pauses()
        while not self._ending.is_set():
            if not self._may_connect():
                self._ending.wait(_LOOK_SECONDS)
                continue
            try:
                was_ready = self._once()
            except Exception:  # no socket can be had, say, and the link must outlive that
                _log.exception("%s: no connection could be begun", self._name)
                was_ready = False
                self._forget()
            if was_ready:
                wait = pauses()
            self._ending.wait(next(wait))

    def _once(self) -> bool:
        """Connect and serve until the connection is gone; return whether it got ready."""
        import pika

        connection = pika.SelectConnection(
            self._parameters,
            on_open_callback=self._on_open,
            on_open_error_callback=self._on_gone,
            on_close_callback=self._on_gone,
        )
        with self._guard:
            self._connection = connection
            self.epoch += 1
        if self._ending.is_set():  # `close` came too early to be heard
            connection.ioloop.call_later(0, self._close_connection)
        connection.ioloop.call_later(_READY_SECONDS, self._give_up)
        try:
            connection.ioloop.start()
        except Exception:  # a callback's mistake must not end the link
            _log.exception("%s: the connection's loop broke", self._name)
            connection.ioloop.stop()
        was_ready = self._ready.is_set()
        self._forget()
        self._lost()
        connection.ioloop.close()
        return was_ready

    def _forget(self) -> None:
        with self._guard:
            self._ready.clear()
            self._open = False
            self._connection = self._channel = None
            self._calls = []  # as all that was on its way over a connection that is gone

    def _on_open(self, connection: Any) -> None:
        self._open = True
        self._times_open += 1
        connection.channel(on_open_callback=self._on_channel)

    def _on_channel(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._on_channel_closed)
        steps = iter(self._steps())

        def go_on(*_: Any) -> None:
            step = next(steps, None)
            if step is not None:
                step(channel, go_on)
                return
            self._got_ready()
            self._ready.set()
            self._said_at = -_SAY_AGAIN_SECONDS

        go_on()

    def _on_channel_closed(self, channel: Any, reason: Exception) -> None:
        """Begin anew: a channel is closed for a mistake of ours or because a queue went away."""
        self._report(reason)
        self._close_connection()

    def _on_gone(self, connection: Any, reason: Exception) -> None:
        if not self._ending.is_set():
            self._report(reason)
        connection.ioloop.stop()

    def _report(self, reason: Exception) -> None:
        """Say why there is no connection: at once, and while it stays so now and then."""
        now = time.monotonic()
        if not self._ending.is_set() and now - self._said_at >= _SAY_AGAIN_SECONDS:
            self._said_at = now
            _log.warning("%s: connection to RabbitMQ: %r", self._name, reason)

    def _give_up(self) -> None:
        if not self._ready.is_set():
            _log.warning("%s: RabbitMQ leaves our questions unanswered", self._name)
            self._close_connection()

    def _close_connection(self) -> None:
        connection = self._connection
        if connection is not None and not (connection.is_closing or connection.is_closed):
            connection.close()
