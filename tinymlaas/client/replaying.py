"""The order of an earlier job, for another try: of its record, or of a dead letter."""

from __future__ import annotations

from collections.abc import Callable

from broker.errors import NotAllowed
from broker.looking import Letter, looking
from tinymlaas.client.access import Access
from tinymlaas.client.lines import Key
from tinymlaas.contract.errors import Rejection
from tinymlaas.contract.messages import CompileOrder, CompileRequested
from tinymlaas.contract.wire import MalformedMessage, loads, parse

Send = Callable[[CompileOrder], None]


def replay(access: Access, key: Key, send: Send) -> None:
    """Have `send` send the order of an ended job again, or of a request that is a dead letter.

    A dead letter is removed once its order was sent.

    Raises:
        Rejection: the job goes on, its record holds no order, or its request is malformed.
        UnknownJob: there is neither record nor dead letter.
    """
    record = access.end(key)
    if record is not None:
        if record.data.order is None:
            raise Rejection(f"the record of job {key[1]} holds no order: submit the model again")
        send(_again(record.data.order))
        return
    if not _from_dead_letters(access, key, send):
        status = access.status(key, access.patience)
        raise Rejection(f"job {key[1]} is {status.status}: only what has ended can be replayed")


def _from_dead_letters(access: Access, key: Key, send: Send) -> bool:
    try:
        return _from_all_dead_letters(access, key, send)
    except NotAllowed:  # they are everybody's, so an operator's to look at
        return False


def _from_all_dead_letters(access: Access, key: Key, send: Send) -> bool:
    with (
        looking(access.settings.amqp_url, access.lines.names) as look,
        look.dead_letters() as letters,
    ):
        for letter in letters:
            if _is_of(letter, key):
                try:
                    order = parse(letter.body, CompileRequested).data
                except MalformedMessage as error:
                    raise Rejection(
                        f"the request of job {key[1]} is a dead letter ({letter.reason}) and "
                        f"malformed: {error}"
                    ) from None
                send(_again(order))
                letters.drop(letter)
                return True
    return False


def _again(order: CompileOrder) -> CompileOrder:
    """Return `order` without what was for the first try only."""
    return order.model_copy(update={"deadline": None, "reply": None})


def _is_of(letter: Letter, key: Key) -> bool:
    try:
        value = loads(letter.body)
    except MalformedMessage:
        return False
    if not isinstance(value, dict) or value.get("id") != key[1]:
        return False
    data = value.get("data")
    tenant = data.get("tenant") if isinstance(data, dict) else None
    return value.get("type") == CompileRequested.TYPE and tenant == key[0]
