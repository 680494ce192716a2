"""A request as it came, and the job it makes."""

from __future__ import annotations

from scheduler.admission import reply_queue
from scheduler.jobs import Job
from scheduler.ports import Clock, Delivery
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.messages import CompileRequested
from tinymlaas.contract.wire import parse


def read_request(delivery: Delivery, clock: Clock) -> tuple[Job, tuple[bytes, ...]]:
    """Return the job that a request makes, and the files that came inside it.

    Raises:
        MalformedMessage: it is no request.
    """
    message = parse(delivery.body, CompileRequested)
    order = message.data.by_reference()
    encoded = order.model_dump_json(exclude_defaults=True).encode()
    now, deadline = clock.seconds(), None
    if order.deadline is not None:
        deadline = now + (order.deadline - clock.utc()).total_seconds()
    job = Job(
        tenant=order.tenant,
        job_id=message.id,
        order=encoded,
        mark=bytes.fromhex(sha256(encoded))[:16],
        priority=order.priority,
        tokens=(delivery.token,),
        received=now,
        deadline=deadline,
        reply=order.reply or reply_queue(delivery.reply_to),
        traceparent=message.traceparent,
        tracestate=message.tracestate,
    )
    inline = (each.content() for each in message.data.payloads() if each.inline is not None)
    return job, tuple(inline)
