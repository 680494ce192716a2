"""`tinymlaas.Client` against real processes, RabbitMQ and S3."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import onnx
import pytest

from broker.errors import BrokerError, BrokerUnavailable
from storage import keys
from storage.port import ObjectDamaged
from storage.signing import LocalSigner
from tests.integration.client.farms import SECONDS, Place, submit, through_proxy, until
from tests.services import running
from tests.services.fixtures import own_rabbitmq  # noqa: F401
from tests.services.stub_compiler import FAST, model
from tinymlaas import Client, modules
from tinymlaas.client import (
    JobStatus,
    NoModule,
    NoScheduler,
    NotFinished,
    Refused,
    UnknownJob,
)
from tinymlaas.contract.digest import sha256
from tinymlaas.contract.errors import Rejection, UsageError, VerificationError
from tinymlaas.contract.messages import MAX_INLINE, JobState
from tinymlaas.farm_settings import from_environment
from tinymlaas.services.rabbitmq import RabbitMQ


def test_a_model_goes_in_and_a_verified_module_comes_out(client: Client, tmp_path: Path) -> None:
    job = submit(client, "whole", 100)
    seen = list(job.watch(SECONDS))
    assert seen[0].status is JobState.QUEUED
    assert [each.final for each in seen] == [False] * (len(seen) - 1) + [True]
    done = seen[-1]
    assert done.status is JobState.DONE, done.reasons
    assert done == job.status() == job.result(SECONDS)
    assert done.chosen is not None
    assert done.candidates[done.chosen].compiler == "stub"
    assert done.location == f"s3://{from_environment().bucket}/{done.module}"
    fetched = job.fetch(tmp_path / "out")
    assert Path(fetched.module).name == f"whole-{FAST}.zip"
    checked = modules.verify(Path(fetched.module), None)
    assert checked.signer == fetched.signer
    assert checked.archive.manifest.name == "whole"


def test_an_id_of_ones_own_names_one_job(client: Client, place: Place) -> None:
    first = submit(client, "once", 300, job_id="my-id")
    with Client() as other:
        again = submit(other, "once", 300, job_id="my-id")
        assert first.result(SECONDS) == again.result(SECONDS)
        assert again.status().status is JobState.DONE
    assert place.stub.begun().count("once") == 1
    for milliseconds in (300, 400):  # the same order, and another one, when the job is over
        late = submit(client, "once", milliseconds, job_id="my-id")
        if milliseconds == 300:
            assert late.result(SECONDS).status is JobState.DONE
    with Client() as other:
        with pytest.raises(Refused, match="another order"):
            submit(other, "once", 400, job_id="my-id").result(SECONDS)
        assert other.status("my-id").status is JobState.DONE, "the job itself is what it was"


def test_any_number_may_watch_and_come_late(client: Client) -> None:
    job = submit(client, "watched", 1000)
    ends: list[list[JobStatus]] = []

    def follow(own: Client) -> None:
        ends.append(list(own.watch(job.id, SECONDS)))

    with Client() as other:
        threads = [
            threading.Thread(target=follow, args=(each,)) for each in (client, client, other)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
        assert len(ends) == 3
        assert len({each[-1].model_dump_json() for each in ends}) == 1
        assert all(sum(status.final for status in each) == 1 for each in ends)
        assert any(status.status is JobState.COMPILING for each in ends for status in each)
        assert list(other.watch(job.id)) == [ends[0][-1]], "of an ended job only its end is told"


def test_many_threads_share_a_client(client: Client) -> None:
    with ThreadPoolExecutor(8) as pool:
        jobs = list(pool.map(lambda n: submit(client, f"thread{n % 4}"), range(24)))
        ends = list(pool.map(lambda job: job.result(SECONDS), jobs))
    assert len({job.id for job in jobs}) == 24
    assert Counter(end.status for end in ends) == {JobState.DONE: 24}
    assert [end.job_id for end in ends] == [job.id for job in jobs]
    digests = {end.candidates[end.chosen or 0].module_digest for end in ends}
    assert len(digests) == 4


def test_a_large_model_is_uploaded_and_referred_to(client: Client, place: Place) -> None:
    large = onnx.load_model_from_string(model())
    large.doc_string = "x" * (MAX_INLINE + 1)
    data = large.SerializeToString()
    job = client.submit(data, FAST, compiler="stub", name="large")
    assert job.result(SECONDS).status is JobState.DONE
    assert place.running.store.get(keys.tenant_blob(client.tenant, sha256(data))) == data


def test_only_ones_own_jobs_are_known(client: Client) -> None:
    job = submit(client, "mine")
    assert job.result(SECONDS).status is JobState.DONE
    with Client(tenant="somebody-else") as other:
        for ask in (other.status, other.cancel, other.replay, other.result):
            with pytest.raises(UnknownJob, match="somebody-else has no job"):
                ask(job.id)
    for wrong in ("", "../../x", "a/b", "a.b", "a*", "#", "x" * 65, "ü", "a\n"):
        with pytest.raises(UsageError, match="no job's id"):
            client.status(wrong)
        with pytest.raises(UsageError, match="no job's id"):
            submit(client, "wrong", job_id=wrong)


def test_malformed_orders_are_refused_before_they_are_sent(client: Client) -> None:
    with pytest.raises(UsageError, match="either board or device"):
        client.submit(model())
    with pytest.raises(UsageError, match="board"):
        client.submit(model(), "../../etc/passwd")
    with pytest.raises(UsageError, match="no file"):
        client.submit(Path("there/is/none.onnx"), FAST)
    with pytest.raises(UsageError, match="priority"):
        client.submit(model(), FAST, priority=10)


def test_a_module_that_is_not_what_was_signed_is_not_delivered(
    client: Client, place: Place, tmp_path: Path
) -> None:
    job = submit(client, "damaged")
    done = job.result(SECONDS)
    with pytest.raises(VerificationError, match="not signed by a trusted key"):
        job.fetch(tmp_path, LocalSigner.generate().public_key.pem)
    with pytest.raises(VerificationError, match="PEM"):
        job.fetch(tmp_path, b"no key")
    store = place.running.store
    store.client.put_object(Bucket=store.bucket, Key=done.module, Body=b"something else")
    try:
        with pytest.raises(ObjectDamaged):
            job.fetch(tmp_path)
    finally:
        store.client.delete_object(Bucket=store.bucket, Key=done.module)
    with pytest.raises(NoModule, match="no longer in the store"):
        job.fetch(tmp_path)
    assert not list(tmp_path.iterdir())


def test_cancelled_then_replayed(client: Client, tmp_path: Path) -> None:
    job = submit(client, "cancelled", 60_000, deadline=timedelta(hours=1))
    until(lambda: job.status().status is JobState.COMPILING)
    with pytest.raises(NoModule, match="is compiling"):
        job.fetch(tmp_path)
    with pytest.raises(Rejection, match="only what has ended"):
        client.replay(job.id)
    with pytest.raises(NotFinished):
        job.result(0.1)
    report = client.queue()
    assert report.scheduler
    (pool,) = [each for each in report.pools if each.pool == "stub"]
    assert (pool.workers, pool.busy) == (1, 1)
    # Counted once a second, whoever asks.
    until(lambda: client.tenant in {each.tenant for each in client.queue().tenants})
    assert job.cancel().status is JobState.CANCELLED
    assert job.cancel().status is JobState.CANCELLED, "asked again it is what it was"
    with pytest.raises(NoModule, match="was cancelled"):
        job.fetch(tmp_path)
    again = client.replay(job.id)
    assert again.id != job.id
    until(lambda: again.status().status is JobState.COMPILING)
    assert again.cancel().status is JobState.CANCELLED


def test_a_client_that_loses_its_connection_goes_on(place: Place) -> None:
    with through_proxy() as (settings, proxy), Client(settings) as client:
        job = submit(client, "interrupted", 2000)
        watched: list[JobStatus] = []
        thread = threading.Thread(target=lambda: watched.extend(job.watch(SECONDS)))
        thread.start()
        until(lambda: any(each.status is JobState.COMPILING for each in watched))
        proxy.cut()
        assert client.status(submit_elsewhere()).status is JobState.DONE, "the store tells"
        until(lambda: "interrupted" in _ended(place))
        proxy.mend()
        thread.join(SECONDS)
        assert watched[-1].status is JobState.DONE
        assert submit(client, "interrupted", 2000).result(SECONDS).status is JobState.DONE
        assert proxy.connections >= 4, "two before, two after"


@pytest.mark.slow
@pytest.mark.skipif(running.AMQP_URL is not None, reason="the RabbitMQ given is not ours to kill")
def test_a_broker_that_is_killed_costs_a_client_nothing_but_time(
    client: Client,
    place: Place,
    own_rabbitmq: RabbitMQ,  # noqa: F811
) -> None:
    job = submit(client, "restarted", 2000)
    watched: list[JobStatus] = []
    thread = threading.Thread(target=lambda: watched.extend(job.watch(2 * SECONDS)))
    thread.start()
    until(lambda: "restarted" in place.stub.begun())
    own_rabbitmq.kill()
    own_rabbitmq.start()
    later = submit(client, "later")
    thread.join(2 * SECONDS)
    assert watched[-1].status is JobState.DONE
    assert later.result(SECONDS).status is JobState.DONE
    assert place.stub.begun().count("restarted") == 1


def submit_elsewhere() -> str:
    with Client() as other:
        return submit(other, "elsewhere").result(SECONDS).job_id


def _ended(place: Place) -> set[str]:
    return {entry.name for entry in place.stub.journal() if entry.event == "end"}


def test_what_cannot_be_reached_is_said(place: Place) -> None:
    settings = from_environment()
    host = settings.amqp_url.rpartition("@")[2]
    cases = {
        "amqp://u:p@127.0.0.1:9/": (BrokerUnavailable, "not reached"),
        f"amqp://nobody:wrong@{host}": (BrokerError, "does not let us in"),
    }
    for url, (kind, said) in cases.items():
        with (
            Client(replace(settings, amqp_url=url), patience=1.0) as client,
            pytest.raises(kind, match=said),
        ):
            submit(client, "unheard")
    with (
        Client(replace(settings, prefix="nowhere."), patience=1.0) as client,
        pytest.raises(BrokerError, match="tinymlaas farm declare"),
    ):
        submit(client, "unheard")


def test_without_a_scheduler_requests_wait_and_status_says_so(client: Client, place: Place) -> None:
    (scheduler,) = place.running.schedulers
    scheduler.kill()
    try:
        job = submit(client, "waiting")
        with pytest.raises(NoScheduler, match="1 request waits"):
            client.status(job.id, timeout=1.0)
        assert not client.queue(timeout=1.0).scheduler
        assert client.queue(timeout=0.1).unread >= 1
    finally:
        scheduler.start()
    assert job.result(SECONDS).status is JobState.DONE
