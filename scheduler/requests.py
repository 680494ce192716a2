"""A request as it came, and the job it makes."""

from __future__ import annotations

from scheduler.admission import reply_queue
from scheduler.jobs import Job
from scheduler.ports import Clock, Delivery
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.messages import CompileOrder, CompileRequested, JobEnded, JobName
from tinymlaas.contract.wire import MalformedMessage, parse


def encoded_order(order: CompileOrder) -> bytes:
    """Return what is asked as JSON; who is to be told is no part of it."""
    return order.model_copy(update={"reply": None}).model_dump_json(exclude_defaults=True).encode()


def of_tenant(name: JobName, delivery: Delivery, verb: str) -> JobName:
    """Return `name` if it is the sender's.

    Raises:
        MalformedMessage: it is not.
    """
    if not delivery.vouched(name.tenant):
        raise MalformedMessage(_elsewhere(verb, name.tenant))
    return name


def _elsewhere(verb: str, tenant: str) -> str:
    return f"what is of tenant {tenant} is sent under {verb}.{tenant}, and this was not"


def mark_of(encoded: bytes) -> bytes:
    """Return what tells one order from another."""
    return bytes.fromhex(sha256(encoded))[:16]


def same_order(job: Job, record: JobEnded) -> bool:
    """Return whether `record` is of this job and not of an earlier one with another order."""
    order = record.data.order
    return order is None or mark_of(encoded_order(order)) == job.mark


def read_request(delivery: Delivery, clock: Clock) -> tuple[Job, tuple[bytes, ...]]:
    """Return the job that a request makes, and the files that came inside it.

    Raises:
        MalformedMessage: it is no request, or not its tenant's.
    """
    message = parse(delivery.body, CompileRequested)
    if not delivery.vouched(message.data.tenant):
        raise MalformedMessage(_elsewhere("compile", message.data.tenant))
    order = message.data.by_reference()
    encoded = encoded_order(order)
    now, deadline = clock.seconds(), None
    reply = order.reply or reply_queue(delivery.reply_to)
    if order.deadline is not None:
        deadline = now + (order.deadline - clock.utc()).total_seconds()
    job = Job(
        tenant=order.tenant,
        job_id=message.id,
        order=encoded,
        mark=mark_of(encoded),
        priority=order.priority,
        tokens=(delivery.token,),
        received=now,
        deadline=deadline,
        replies=(reply,) if reply else (),
        traceparent=message.traceparent,
        tracestate=message.tracestate,
    )
    inline = (each.content() for each in message.data.payloads() if each.inline is not None)
    return job, tuple(inline)
