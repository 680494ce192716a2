"""What is in the repository passes its own check, and the check is what it says it is."""

import json
import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml

from deploy import generate, secrets, set_images
from deploy.check import components, known, render, schemas
from deploy.check.__main__ import check, main, report
from deploy.check.model import Overlay
from tinymlaas.contract.errors import Failure, UsageError

ROOT = Path(__file__).parents[3]


def test_the_three_overlays_of_the_issue_are_there(rendered):
    assert {"dev", "production", "air-gapped"} <= set(rendered)


def test_the_repository_passes(capsys):
    assert main([]) == 0, capsys.readouterr().out
    assert "all is well" in capsys.readouterr().out


def test_three_versions_of_kubernetes_the_newest_among_them():
    found = schemas.versions()
    assert len(found) == 3
    assert found[-1] == kubernetes_validate.utils.major_minor(kubernetes_validate.latest_version())


def test_it_says_of_each_object_what_kubernetes_validate_says(rendered):
    """Ours keeps schemas in memory; a verdict of its own it has not."""
    objects = {each["kind"]: each for each in rendered["dev"].objects}.values()
    for thing in objects:
        wrong = {**thing, "spce": {}}
        for each, sound in ((thing, True), (wrong, False)):
            assert (schemas.mistakes(each) == ()) == sound
            try:
                kubernetes_validate.validate(each, schemas.versions()[-1], strict=True)
                said = True
            except kubernetes_validate.ValidationError:
                said = False
            assert said == sound


def test_every_vendored_schema_says_where_it_is_from_and_is_used(rendered):
    used = {
        f"{each['apiVersion'].replace('/', '_')}_{each['kind']}.json"
        for overlay in rendered.values()
        for each in overlay.objects
    }
    for path in (ROOT / "deploy" / "check" / "schemas").glob("*.json"):
        assert re.search(r"Derived from|Written for", path.read_text()), path.name
        assert path.name in used


def test_the_known_variables_are_found_in_the_code():
    found = known.variables()
    assert {"TINYMLAAS_AMQP_URL", "TINYMLAAS_DRAIN_SECONDS", "TINYMLAAS_SANDBOX_LIMITS"} <= found
    assert {"HOME", "XDG_CACHE_HOME"} <= found  # asked of an environment
    assert {"AWS_ACCESS_KEY_ID", "AWS_DEFAULT_REGION", "OTEL_EXPORTER_OTLP_ENDPOINT"} <= found
    assert "TINYMLAAS_AMPQ_URL" not in found


def test_a_component_that_nothing_renders_is_told(tmp_path):
    k8s = shutil.copytree(render.K8S, tmp_path / "k8s")
    (k8s / "components" / "forgotten").mkdir()
    (k8s / "components" / "forgotten" / "kustomization.yaml").write_text("kind: Component\n")
    found = [f.object for f in components.check(render.overlays(k8s), k8s)]
    assert "forgotten" in found


def test_what_kustomize_refuses_is_told_in_its_words(tmp_path):
    k8s = shutil.copytree(render.K8S, tmp_path / "k8s")
    path = k8s / "overlays" / "dev" / "kustomization.yaml"
    path.write_text(path.read_text().replace("../../base", "../../bsae"))
    with pytest.raises(Failure, match="bsae"):
        render.render(path.parent)


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("overlays/dev/policy.toml", "build_seconds = 600", "biuld_seconds = 600", "biuld_seconds"),
        (
            "overlays/dev/policy.toml",
            "= 600",
            "= 700",
            "is not more than the policy's build_seconds",
        ),
        ("base/pools/tvm/pool.yaml", "memory: 6Gi", "memory: 5Gi", "TINYMLAAS_JOB_MEMORY=4GiB"),
        ("base/kustomization.yaml", "HTTP_HOST=0.0.0.0", "HTTP_HOST=127.0.0.1", "to be 0.0.0.0"),
        ("base/pools/worker/worker.yaml", "startupProbe", "startUpProbe", "startUpProbe"),
    ],
)
def test_mistakes_in_the_files_are_found_in_what_they_render_to(tmp_path, file, old, new, said):
    k8s = shutil.copytree(render.K8S, tmp_path / "k8s")
    text = (k8s / file).read_text()
    assert old in text
    (k8s / file).write_text(text.replace(old, new))
    found = check(render.render(k8s / "overlays" / "dev"))
    assert any(said in each.line() for each in found), [each.line() for each in found]


def test_what_is_generated_differs_when_its_source_does(tmp_path):
    rules = tmp_path / "one.yaml"
    rules.write_text("groups:\n- {name: a, rules: [{record: 'a:b', expr: '1'}]}\n")
    (made,) = yaml.safe_load_all(generate.rules(tmp_path))
    assert made["metadata"]["name"] == "tinymlaas-one"
    assert made["spec"]["groups"][0]["rules"] == [{"record": "a:b", "expr": "1"}]
    assert schemas.mistakes(made) == ()


def test_digests_of_a_build_are_written_where_kustomize_reads_them(tmp_path):
    k8s = shutil.copytree(render.K8S, tmp_path / "k8s")
    path = k8s / "overlays" / "production" / "images" / "kustomization.yaml"
    digest = "sha256:" + 64 * "a"
    set_images.write(path, {"tinymlaas/worker-tvm": ("registry.example.com/x/tvm", digest)})
    found = render.render(k8s / "overlays" / "production")
    images = [
        container["image"]
        for pod in found.pods
        for _, container in pod.containers()
        if pod.name == "worker-tvm"
    ]
    assert images == 3 * [f"registry.example.com/x/tvm@{digest}"]
    with pytest.raises(UsageError, match="no image is called"):
        set_images.write(path, {"tinymlaas/worker-tvn": ("x", digest)})
    path.with_suffix(".tmp").mkdir()  # nothing can be written there, by root neither
    with pytest.raises(UsageError, match="cannot write"):
        set_images.write(path, {})
    path.write_text("kind: Component\n")
    with pytest.raises(UsageError, match="no list `images`"):
        set_images.write(path, {})


def test_images_are_not_set_to_nothing(capsys, tmp_path):
    (tmp_path / "empty.json").write_text("{}")
    for arguments in ([], ["--metadata", str(tmp_path / "empty.json")]):
        assert set_images.main(["--overlay", "production", *arguments]) == 2
        assert "say which: --metadata FILE" in capsys.readouterr().err


def test_secrets_are_made_once_and_are_what_the_manifests_ask_for(tmp_path):
    wanted = secrets.Wanted(secrets.POOLS, ("acme",))
    first = secrets.write(wanted, tmp_path / "s").read_text()
    more = secrets.Wanted(secrets.POOLS, ("lab",))  # who was there stays
    second = secrets.write(more, tmp_path / "s").read_text()
    made = {each["metadata"]["name"]: each for each in yaml.safe_load_all(first)}
    again = {each["metadata"]["name"]: each for each in yaml.safe_load_all(second)}
    assert set(again) - set(made) == {"tenant-lab"}
    assert made["worker-tvm"] == again["worker-tvm"]
    assert made["signing-key-tvm"] == again["signing-key-tvm"]
    keys = {n: set(v.get("stringData") or v["data"]) for n, v in made.items()}
    for (_, name), wanted_keys in secrets.keys_made().items():
        assert keys[name] == wanted_keys
    assert "signing-key-prepare" not in made
    for thing in (*made.values(), *again.values()):
        assert schemas.mistakes(thing) == ()
    assert (tmp_path / "s" / "secrets.yaml").stat().st_mode & 0o077 == 0


def test_a_tenant_that_is_no_more_is_in_nothing_any_more(tmp_path):
    secrets.write(secrets.Wanted(secrets.POOLS, ("acme", "lab")), tmp_path / "s")
    path = secrets.write(secrets.Wanted(secrets.POOLS, (), ("lab",)), tmp_path / "s")
    for name in ("secrets.yaml", "tenants.yaml", "passwords.json"):
        text = path.with_name(name).read_text()
        assert "tenant-acme" in text
        assert "tenant-lab" not in text
    with pytest.raises(UsageError, match="--tenant NAME"):
        secrets.write(secrets.Wanted(secrets.POOLS, (), ("acme",)), tmp_path / "s")


def test_the_addresses_are_such_as_other_namespaces_find(tmp_path):
    """KEDA, which scales from nothing, lives in its own; so do tenants."""
    wanted = secrets.Wanted(secrets.POOLS, ("acme",), namespace="farm")
    made = yaml.safe_load_all(secrets.write(wanted, tmp_path / "s").read_text())
    found = {each["metadata"]["name"]: each.get("stringData") for each in made}
    for url in (found["scaler"]["host"], found["tenant-acme"]["amqp-url"]):
        assert urlsplit(url).hostname == "rabbitmq.farm.svc"
    elsewhere = secrets.Wanted(("tvm",), ("acme",), broker="amqps://mq.example.com:5671/")
    made = yaml.safe_load_all(secrets.write(elsewhere, tmp_path / "t").read_text())
    url = urlsplit(next(each for each in made)["stringData"]["amqp-url"])
    assert (url.scheme, url.hostname, url.port, url.path) == (
        "amqps",
        "mq.example.com",
        5671,
        "/%2F",
    )


def test_rabbitmq_has_the_bounds_that_the_farm_is_tested_with(rendered):
    cluster = rendered["production"].get("RabbitmqCluster", "rabbitmq")["spec"]
    (own,) = (
        each["data"]["rabbitmq.conf"]
        for each in rendered["dev"].of("ConfigMap")
        if "rabbitmq.conf" in each["data"]
    )
    tested = (ROOT / "tinymlaas" / "services" / "rabbitmq.py").read_text()
    for name in ("max_message_size", "consumer_timeout"):
        found = {
            int(re.search(rf"^{name} = (\d+)$", text, re.M)[1])
            for text in (own, cluster["rabbitmq"]["additionalConfig"], tested)
        }
        assert len(found) == 1, name


def test_the_ingress_leads_to_every_page_and_to_nothing_else(rendered):
    """Each path that the page's own code compares with is led to; metrics and probes are not."""
    rules = rendered["production"].get("Ingress", "status-page")["spec"]["rules"]
    paths = {each["path"]: each["pathType"] for each in rules[0]["http"]["paths"]}
    source = (ROOT / "tinymlaas" / "status" / "site.py").read_text()
    named = {f"/{each}" for each in re.findall(r"[\"'|]/([a-z]+)", source)}
    assert {"/login", "/logout", "/static", "/jobs", "/tenants"} <= named & set(paths)
    assert paths["/"] == "Exact"
    assert not {"/metrics", "/healthz", "/readyz"} & set(paths)


def test_tenants_are_users_of_the_operator_too(tmp_path, rendered):
    wanted = secrets.Wanted(secrets.POOLS, ("acme",))
    path = secrets.write(wanted, tmp_path / "s").with_name("tenants.yaml")
    made = list(yaml.safe_load_all(path.read_text()))
    assert [(each["kind"], each["metadata"]["name"]) for each in made] == [
        ("User", "tenant-acme"),
        ("Permission", "tenant-acme"),
        ("TopicPermission", "tenant-acme-tinymlaas-requests"),
        ("TopicPermission", "tenant-acme-tinymlaas-results"),
    ]
    assert all(schemas.mistakes(each) == () for each in made)
    own = secrets.Wanted((*secrets.POOLS, "elementwise"), ("acme",))  # in no component
    path = secrets.write(own, tmp_path / "s").with_name("tenants.yaml")
    users = [each for each in yaml.safe_load_all(path.read_text()) if each["kind"] == "User"]
    assert [u["metadata"]["name"] for u in users] == ["worker-elementwise", "tenant-acme"]
    names = {each["metadata"]["name"] for each in rendered["production"].of("User")}
    assert names == {"operator", "scaler", "scheduler", *(f"worker-{p}" for p in secrets.POOLS)}


def test_credentials_made_elsewhere_are_taken_and_missing_ones_named(tmp_path):
    given = dict.fromkeys(
        ("operator", "scheduler", "worker-tvm", "worker-prepare", "tenant-acme"), ("id", "secret")
    )
    wanted = secrets.Wanted(("tvm", "prepare"), ("acme",), s3=given)
    made = yaml.safe_load_all(secrets.write(wanted, tmp_path / "s").read_text())
    assert {
        each["stringData"]["s3-secret-access-key"]
        for each in made
        if "s3-secret-access-key" in each.get("stringData", {})
    } == {"secret"}
    del given["worker-tvm"]
    with pytest.raises(UsageError, match="no credentials for the role worker-tvm"):
        secrets.write(wanted, tmp_path / "s")


def test_what_was_said_once_need_not_be_said_again(tmp_path, capsys):
    """Or one more tenant would send the whole farm to another RabbitMQ and another store."""
    given = tmp_path / "given.json"
    names = ("operator", "scheduler", "worker-tvm", "tenant-acme", "tenant-lab")
    given.write_text(json.dumps({name: ["id", "elsewhere"] for name in names}))
    run = ["--out", str(tmp_path / "s")]
    elsewhere = [
        "--broker",
        "amqps://mq.example.com:5671",
        "--management",
        "https://mq.example.com",
    ]
    first = [*elsewhere, "--pool", "tvm", "--namespace", "farm", "--s3", str(given)]
    assert secrets.main([*run, "--tenant", "acme", *first]) == 0
    assert secrets.main([*run, "--tenant", "lab"]) == 0
    made = {
        each["metadata"]["name"]: each.get("stringData")
        for each in yaml.safe_load_all((tmp_path / "s" / "secrets.yaml").read_text())
        if each["metadata"]["namespace"] == "farm"
    }
    assert set(names) <= set(made)
    assert "worker-tflm" not in made
    for name in names:
        assert urlsplit(made[name]["amqp-url"]).hostname == "mq.example.com"
        assert made[name]["s3-secret-access-key"] == "elsewhere"
    assert urlsplit(made["scaler"]["host"]).hostname == "mq.example.com"
    assert (tmp_path / "s" / "options.json").stat().st_mode & 0o077 == 0
    capsys.readouterr()
    assert secrets.main([*run, "--without", "lab"]) == 0
    said = capsys.readouterr().err
    assert "kubectl -n farm delete secret tenant-lab" in said
    assert "delete_user tenant-lab" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--broker", "mq.example.com:5671"], "--broker: write amqps://HOST:PORT"),
        (["--broker", "amqps://me:secret@mq:5671"], "without user and path"),
        (["--broker", "amqps://mq:5671/farm"], "without user and path"),
        (["--broker", "amqps://mq:5671"], "say with --management"),
        (["--management", "amqp://mq:15671"], "--management: write https://HOST:PORT"),
        (["--prefix", "Mine/"], "TINYMLAAS_QUEUE_PREFIX must be"),
        (["--namespace", ""], "--namespace: none is called ''"),
        (["--bucket", "../x"], "--bucket: none is called '../x'"),
    ],
)
def test_an_address_that_would_not_work_is_refused(tmp_path, capsys, arguments, said):
    folder = tmp_path / "s"
    assert secrets.main(["--out", str(folder), "--tenant", "acme", *arguments]) == 2
    refused = capsys.readouterr().err
    assert said in refused
    assert "secret@" not in refused
    assert not folder.exists()


@pytest.mark.parametrize("name", ["passwords.json", "options.json"])
def test_a_damaged_file_of_before_is_told(tmp_path, capsys, name):
    (tmp_path / name).write_text('{"scheduler": "')
    assert secrets.main(["--out", str(tmp_path), "--tenant", "acme"]) == 2
    assert f"{name} is damaged" in capsys.readouterr().err
    assert not (tmp_path / "secrets.yaml").exists()


def test_one_overlay_can_be_released_without_the_others(tmp_path, monkeypatch, capsys):
    k8s = shutil.copytree(render.K8S, tmp_path / "k8s")
    images = k8s / "overlays" / "production" / "images" / "kustomization.yaml"
    images.write_text(images.read_text().replace(64 * "0", 64 * "a"))
    monkeypatch.setattr(render.overlays, "__defaults__", (k8s,))
    assert main(["--release", "--overlay", "production"]) == 0, capsys.readouterr().out
    assert main(["--release", "--overlay", "air-gapped"]) == 1
    assert "python -m deploy.set_images" in capsys.readouterr().out
    assert main(["--overlay", "prodution"]) == 1
    assert "there are: air-gapped, dev, production" in capsys.readouterr().err


def test_what_is_not_built_yet_is_a_note_and_for_a_release_a_finding(rendered):
    found, notes = report(rendered.values(), release=False)
    assert not found
    assert any(line.startswith("note: production: 6 images have no digest yet") for line in notes)
    found, notes = report(rendered.values(), release=True)
    assert {each.overlay for each in found} == {"production", "air-gapped"}
    assert all("python -m deploy.set_images" in each.said for each in found)
    assert not notes


def test_an_empty_overlay_is_no_sound_one():
    said = {each.said for each in check(Overlay("empty", ()))}
    assert "there is none, so nothing is enforced" in said
