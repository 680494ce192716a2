"""What each role may do, held against the topology and the key layout that it is about."""

from __future__ import annotations

import json
import re
from fnmatch import fnmatchcase
from typing import Any

import pytest

from broker.powers import definitions
from broker.topology import Names, topology
from storage import keys
from tests.unit.scaffold.project import ROOT
from tinymlaas.farm.roles import Role, roles, shown

POOLS = ("cmsis-nn", "tflm", "tvm", "prepare")
FOUND = roles(POOLS, ["acme"], Names())
DIGEST = "0123456789abcdef" * 4


def test_what_is_published_is_what_the_code_says() -> None:
    """`tinymlaas farm roles --pool cmsis-nn --pool tflm --pool tvm --tenant acme` writes it."""
    text = (ROOT / "deploy" / "roles.json").read_text()
    assert json.loads(text) == shown(FOUND, "tinymlaas")


def may(pattern: str, name: str) -> bool:
    """RabbitMQ looks for the pattern anywhere in the name."""
    return re.search(pattern, name) is not None


@pytest.mark.parametrize("prefix", ["", "a.b-c."])
def test_the_scheduler_may_do_what_it_declares_and_publishes(prefix: str) -> None:
    names = Names(prefix)
    power = roles(POOLS, [], names)["scheduler"].broker
    whole = topology(POOLS, names)
    for each in (*(e.name for e in whole.exchanges), *(q.name for q in whole.queues), names.lock):
        assert may(power.configure, each)
        assert may(power.write, each)
        assert may(power.read, each)
    assert may(power.write, "amq.default")
    assert not may(power.configure, "of.another.farm")


def test_a_prefix_is_no_pattern() -> None:
    power = roles(POOLS, ["acme"], Names("a.b."))["tenant-acme"].broker
    assert may(power.write, "a.b.tinymlaas.requests")
    assert not may(power.write, "axbxtinymlaas.requests")


@pytest.mark.parametrize("name", sorted(set(FOUND) - {"scheduler"}))
def test_no_other_role_may_write_into_queues_or_make_any_of_the_farms(name: str) -> None:
    power, whole = FOUND[name].broker, topology(POOLS)
    assert not may(power.write, "amq.default")
    for queue in whole.queues:
        assert not may(power.configure, queue.name)
        assert not may(power.write, queue.name)
    for exchange in whole.exchanges:
        assert not may(power.configure, exchange.name)
    published = {e.name for e in whole.exchanges if may(power.write, e.name)}
    assert len(published) == 1
    assert {t.exchange for t in power.topics if t.write != "^$"} == published, "under own keys"


def one_of_each(tenant: str, pool: str) -> dict[str, keys.Key]:
    """A key for each pattern of the layout."""
    module, envelope = keys.module_archive(DIGEST), keys.module_envelope(DIGEST, DIGEST)
    return {
        "blob": keys.blob(DIGEST),
        "summary": keys.model_summary(DIGEST, "v1"),
        "reference": keys.model_reference(pool, DIGEST, DIGEST),
        "outcome": keys.action_outcome(pool, DIGEST),
        "quantisation": keys.quantisation_outcome(DIGEST),
        "accuracy": keys.accuracy(pool, DIGEST),
        "race": keys.race(DIGEST, DIGEST),
        "module": module,
        "envelope": envelope,
        "upload": keys.tenant_blob(tenant, DIGEST),
        "log": keys.tenant_log(tenant, DIGEST),
        "given": keys.given(tenant, module),
        "given envelope": keys.given(tenant, envelope),
        "record": keys.job_result(tenant, "job"),
        "pool": keys.pool_description(pool),
    }


def test_the_whole_layout_is_asked_about() -> None:
    paths = [key.path for key in one_of_each("acme", "tvm").values()]
    for pattern in keys._LAYOUT:
        assert any(pattern.fullmatch(path) for path in paths), pattern.pattern


def by_policy(role: Role, action: str, path: str) -> bool:
    """Whether the role's AWS policy allows it; there is no deny in any of them."""

    def allows(statement: dict[str, Any]) -> bool:
        resource = f"arn:aws:s3:::tinymlaas/{path}"
        named = any(fnmatchcase(resource, each) for each in statement["Resource"])
        return action in statement["Action"] and named and "Condition" not in statement

    from storage.powers import aws_policy

    return any(map(allows, aws_policy(role.bucket, "tinymlaas")["Statement"]))


@pytest.mark.parametrize("name", sorted(FOUND))
def test_aws_and_seaweedfs_are_told_the_same(name: str) -> None:
    from storage.powers import seaweedfs_actions

    actions = seaweedfs_actions(FOUND[name].bucket, "tinymlaas")
    for tenant, pool in (("acme", "tvm"), ("rival", "tflm"), ("acme-2", "tvm-2")):
        for key in one_of_each(tenant, pool).values():
            for verb, action in (("Read", "s3:GetObject"), ("Write", "s3:PutObject")):
                asked = f"{verb}:tinymlaas/{key.path}"
                ours = any(fnmatchcase(asked, each) for each in actions)
                assert ours == by_policy(FOUND[name], action, key.path), (name, asked)


def test_names_that_begin_alike_are_others() -> None:
    tenant = FOUND["tenant-acme"]
    assert by_policy(tenant, "s3:GetObject", keys.tenant_blob("acme", DIGEST).path)
    assert not by_policy(tenant, "s3:GetObject", keys.tenant_blob("acme-2", DIGEST).path)
    topics = {topic.exchange: topic for topic in tenant.broker.topics}
    assert may(topics[Names().requests].write, "compile.acme")
    assert not may(topics[Names().requests].write, "compile.acme-2")
    assert may(topics[Names().results].read, "acme.job.done")
    assert not may(topics[Names().results].read, "acme-2.job.done")
    worker = FOUND["worker-tvm"]
    assert not by_policy(worker, "s3:PutObject", keys.action_outcome("tvm-2", DIGEST).path)
    assert not by_policy(worker, "s3:PutObject", keys.accuracy("tvm-2", DIGEST).path)
    assert not may(worker.broker.read, Names().pool("tvm-2"))


def test_secrets_are_salted_hashes() -> None:
    role = FOUND["tenant-acme"].broker
    first, second = (definitions({"a": ("secret", role)}) for _ in range(2))
    assert "secret" not in json.dumps(first)
    assert first["users"][0]["password_hash"] != second["users"][0]["password_hash"]
