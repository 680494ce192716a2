"""Each mistake that somebody may make in a manifest is caught, at its place and with a reason."""

import pytest

from deploy.check.__main__ import check

WORKER, SCHEDULER = "Deployment/worker-tvm", "Deployment/scheduler"


def find(overlay, title):
    kind, _, name = title.partition("/")
    found = overlay.get(kind, name)
    assert found is not None, title
    return found


def pod(thing):
    return thing["spec"]["template"]["spec"]


def container(thing, number=0):
    return pod(thing)["containers"][number]


def variable(thing, name):
    return next(each for each in container(thing)["env"] if each["name"] == name)


def renamed(mapping, old, new):
    mapping[new] = mapping.pop(old)


def init(thing, name):
    return next(each for each in pod(thing)["initContainers"] if each["name"] == name)


def limits(thing):
    return container(thing)["resources"]["limits"]


def drop_policy(overlay, name):
    overlay.objects.remove(find(overlay, f"NetworkPolicy/{name}"))


def metadata(overlay, pool="tvm"):
    return find(overlay, f"ScaledObject/worker-{pool}")["spec"]["triggers"][0]["metadata"]


# What is changed in which overlay; at which object and field it is told; words of the reason.
PLANTED = {
    "a misspelt field": (
        "dev",
        lambda o: renamed(pod(find(o, WORKER)), "priorityClassName", "priorityClasName"),
        WORKER,
        "spec.template.spec",
        "'priorityClasName' was unexpected",
    ),
    "a field of the wrong type": (
        "dev",
        lambda o: find(o, SCHEDULER)["spec"].update(replicas="two"),
        SCHEDULER,
        "spec.replicas",
        "is not of type",
    ),
    "a missing limit": (
        "dev",
        lambda o: limits(find(o, WORKER)).pop("memory"),
        WORKER,
        "containers[worker].resources.limits.memory",
        "is missing",
    ),
    "no limit of the disk": (
        "production",
        lambda o: limits(find(o, SCHEDULER)).pop("ephemeral-storage"),
        SCHEDULER,
        "containers[scheduler].resources.limits.ephemeral-storage",
        "is missing",
    ),
    "a request above its limit": (
        "dev",
        lambda o: container(find(o, WORKER))["resources"]["requests"].update(memory="64Gi"),
        WORKER,
        "resources.requests.memory",
        "requests 64Gi and may have 6Gi",
    ),
    "less memory than a job may take": (
        "dev",
        lambda o: limits(find(o, WORKER)).update(memory="5Gi"),
        WORKER,
        "resources.limits.memory",
        "less than TINYMLAAS_JOB_MEMORY=4GiB",
    ),
    "a volume without end": (
        "dev",
        lambda o: pod(find(o, SCHEDULER))["volumes"].append({"name": "more", "emptyDir": {}}),
        SCHEDULER,
        "volumes[more].emptyDir.sizeLimit",
        "could fill the node's disk",
    ),
    "a root user": (
        "dev",
        lambda o: pod(find(o, WORKER))["securityContext"].update(runAsUser=0),
        WORKER,
        "containers[worker].securityContext.runAsUser",
        "has to be a number, not 0",
    ),
    "a container as root": (
        "production",
        lambda o: container(find(o, SCHEDULER))["securityContext"].update(runAsNonRoot=False),
        SCHEDULER,
        "containers[scheduler].securityContext.runAsNonRoot",
        "has to be true",
    ),
    "a root file system that can be written": (
        "dev",
        lambda o: container(find(o, WORKER))["securityContext"].pop("readOnlyRootFilesystem"),
        WORKER,
        "readOnlyRootFilesystem",
        "has to be true",
    ),
    "a capability": (
        "dev",
        lambda o: container(find(o, WORKER))["securityContext"]["capabilities"].update(
            add=["SYS_ADMIN"]
        ),
        WORKER,
        "capabilities.add",
        "must not be set",
    ),
    "an unmasked /proc": (
        "dev",
        lambda o: container(find(o, WORKER))["securityContext"].update(procMount="Unmasked"),
        WORKER,
        "procMount",
        "has to be Default",
    ),
    "no seccomp profile": (
        "dev",
        lambda o: container(find(o, WORKER))["securityContext"].update(
            seccompProfile={"type": "Unconfined"}
        ),
        WORKER,
        "seccompProfile",
        "RuntimeDefault or Localhost",
    ),
    "a folder of the node": (
        "dev",
        lambda o: pod(find(o, WORKER))["volumes"].append(
            {"name": "node", "hostPath": {"path": "/"}}
        ),
        WORKER,
        "volumes[node]",
        "hostPath is not allowed",
    ),
    "the node's network": (
        "dev",
        lambda o: pod(find(o, WORKER)).update(hostNetwork=True),
        WORKER,
        "hostNetwork",
        "shares nothing with its node",
    ),
    "a token of the Kubernetes API": (
        "dev",
        lambda o: pod(find(o, WORKER)).pop("automountServiceAccountToken"),
        WORKER,
        "automountServiceAccountToken",
        "set it to false",
    ),
    "a namespace that lets all in": (
        "dev",
        lambda o: find(o, "Namespace/tinymlaas")["metadata"]["labels"].update(
            {"pod-security.kubernetes.io/enforce": "baseline"}
        ),
        "Namespace/tinymlaas",
        "metadata.labels",
        "has to be restricted",
    ),
    "the signing key mounted into a worker": (
        "dev",
        lambda o: container(find(o, WORKER))["volumeMounts"].append(
            {"name": "key", "mountPath": "/run/key"}
        ),
        WORKER,
        "containers[worker].volumeMounts[key]",
        "only the signer may have it",
    ),
    "an unknown environment variable": (
        "dev",
        lambda o: variable(find(o, WORKER), "TINYMLAAS_DRAIN_SECONDS").update(
            name="TINYMLAAS_DRAIN_SECOND"
        ),
        WORKER,
        "containers[worker].env",
        "TINYMLAAS_DRAIN_SECOND: the code reads no such variable",
    ),
    "a value that the process refuses": (
        "dev",
        lambda o: variable(find(o, WORKER), "TINYMLAAS_JOB_MEMORY").update(value="four"),
        WORKER,
        "containers[worker].env",
        "TINYMLAAS_JOB_MEMORY must be bytes",
    ),
    "no address of the broker": (
        "dev",
        lambda o: container(find(o, SCHEDULER))["env"].remove(
            variable(find(o, SCHEDULER), "TINYMLAAS_AMQP_URL")
        ),
        SCHEDULER,
        "containers[scheduler].env",
        "set TINYMLAAS_AMQP_URL",
    ),
    "a secret in the open": (
        "dev",
        lambda o: variable(find(o, WORKER), "AWS_SECRET_ACCESS_KEY").update(
            value="hunter2", valueFrom=None
        ),
        WORKER,
        "containers[worker].env",
        "take it from a Secret's key",
    ),
    "another role's secret": (
        "dev",
        lambda o: variable(find(o, WORKER), "TINYMLAAS_AMQP_URL")["valueFrom"][
            "secretKeyRef"
        ].update(name="scheduler"),
        WORKER,
        "containers[worker].env[TINYMLAAS_AMQP_URL]",
        "of the role scheduler, not of worker-tvm",
    ),
    "no sandbox": (
        "dev",
        lambda o: container(find(o, WORKER))["env"].append(
            {"name": "TINYMLAAS_UNSAFE_NO_SANDBOX", "value": "1"}
        ),
        WORKER,
        "containers[worker].env",
        "parsed in the sandbox",
    ),
    "a worker of another pool than its label": (
        "dev",
        lambda o: container(find(o, WORKER)).update(args=["--pool", "tflm", "--http-port", "9100"]),
        WORKER,
        "containers[worker].args",
        "labelled tinymlaas.dev/pool=tvm",
    ),
    "a signer that listens elsewhere": (
        "dev",
        lambda o: variable(find(o, WORKER), "TINYMLAAS_SIGNER").update(value="/run/other"),
        WORKER,
        "containers[worker].env",
        "is not where the signer listens",
    ),
    "a key that a Secret does not have": (
        "dev",
        lambda o: variable(find(o, WORKER), "TINYMLAAS_AMQP_URL")["valueFrom"][
            "secretKeyRef"
        ].update(key="amqp_url"),
        WORKER,
        "containers[worker].env[TINYMLAAS_AMQP_URL]",
        "has no key amqp_url",
    ),
    "a Secret that nobody makes": (
        "dev",
        lambda o: pod(find(o, WORKER))["volumes"].append(
            {"name": "x", "secret": {"secretName": "certificates"}}
        ),
        WORKER,
        "volumes[x]",
        "there is no Secret certificates",
    ),
    "a ConfigMap that is not there": (
        "dev",
        lambda o: container(find(o, SCHEDULER))["envFrom"][0]["configMapRef"].update(name="from"),
        SCHEDULER,
        "containers[scheduler].envFrom",
        "there is no ConfigMap from",
    ),
    "a mount of no volume": (
        "dev",
        lambda o: container(find(o, SCHEDULER))["volumeMounts"][0].update(name="temp"),
        SCHEDULER,
        "containers[scheduler].volumeMounts[temp]",
        "there is no such volume",
    ),
    "no probe": (
        "dev",
        lambda o: container(find(o, WORKER)).pop("readinessProbe"),
        WORKER,
        "containers[worker].readinessProbe",
        "is missing",
    ),
    "a restart because the broker is away": (
        "dev",
        lambda o: container(find(o, WORKER))["livenessProbe"]["httpGet"].update(path="/readyz"),
        WORKER,
        "containers[worker].livenessProbe.httpGet.path",
        "only a stuck loop",
    ),
    "a probe of another port": (
        "dev",
        lambda o: container(find(o, WORKER))["livenessProbe"]["httpGet"].update(port="metrics"),
        WORKER,
        "containers[worker].livenessProbe.port",
        "which the container does not have",
    ),
    "grace that is too short": (
        "production",
        lambda o: pod(find(o, WORKER)).update(terminationGracePeriodSeconds=600),
        WORKER,
        "terminationGracePeriodSeconds",
        "the kubelet would kill a worker that drains",
    ),
    "a drain shorter than a task": (
        "production",
        lambda o: variable(find(o, WORKER), "TINYMLAAS_DRAIN_SECONDS").update(value="900"),
        WORKER,
        "containers[worker].env",
        "not more than the policy's build_seconds 1500",
    ),
    "a tag for a digest": (
        "production",
        lambda o: container(find(o, WORKER)).update(image="registry.example.com/x/tvm:1.2"),
        WORKER,
        "containers[worker].image",
        "is no digest",
    ),
    "the newest of all images": (
        "dev",
        lambda o: container(find(o, WORKER)).update(image="x/tvm:latest"),
        WORKER,
        "containers[worker].image",
        "has no tag of its own",
    ),
    "an image from outside": (
        "air-gapped",
        lambda o: container(find(o, "StatefulSet/rabbitmq")).update(
            image=f"docker.io/rabbitmq@sha256:{64 * 'a'}"
        ),
        "images",
        "image",
        "docker.io, registry.example.com",
    ),
    "a selector that selects nothing": (
        "production",
        lambda o: find(o, "PodMonitor/workers")["spec"]["selector"]["matchLabels"].update(
            {"app.kubernetes.io/component": "wroker"}
        ),
        "PodMonitor/workers",
        "spec.selector",
        "selects no pod",
    ),
    "a Service of nobody": (
        "dev",
        lambda o: find(o, "Service/scheduler")["spec"].update(selector={"app": "scheduler"}),
        "Service/scheduler",
        "spec.selector",
        "selects no pod",
    ),
    "a budget that selects nothing": (
        "production",
        lambda o: find(o, "PodDisruptionBudget/scheduler")["spec"].pop("selector"),
        SCHEDULER,
        "(whole)",
        "no PodDisruptionBudget",
    ),
    "a Service of a port that is not there": (
        "dev",
        lambda o: find(o, "Service/scheduler")["spec"]["ports"][0].update(targetPort="web"),
        "Service/scheduler",
        "spec.ports",
        "has the port web",
    ),
    "a spread that spreads others": (
        "production",
        lambda o: pod(find(o, WORKER))["topologySpreadConstraints"][0].update(
            labelSelector={"matchLabels": {"app": "x"}}
        ),
        WORKER,
        "topologySpreadConstraints[0].labelSelector",
        "nothing is spread",
    ),
    "nothing denied": (
        "dev",
        lambda o: drop_policy(o, "default-deny"),
        "NetworkPolicy",
        "(whole)",
        "allows nothing",
    ),
    "no way to the broker": (
        "dev",
        lambda o: drop_policy(o, "to-rabbitmq"),
        WORKER,
        "(whole)",
        "lets it reach RabbitMQ",
    ),
    "a broker that lets nobody in": (
        "dev",
        lambda o: drop_policy(o, "rabbitmq"),
        SCHEDULER,
        "(whole)",
        "lets it reach RabbitMQ",
    ),
    "no way to S3 outside": (
        "production",
        lambda o: drop_policy(o, "to-s3"),
        WORKER,
        "(whole)",
        "lets it reach S3 (port 443)",
    ),
    "no way to the collector": (
        "production",
        lambda o: drop_policy(o, "to-collector"),
        WORKER,
        "(whole)",
        "the collector (port 4318)",
    ),
    "no names": (
        "dev",
        lambda o: drop_policy(o, "names"),
        WORKER,
        "(whole)",
        "ask for names",
    ),
    "nobody may scrape": (
        "production",
        lambda o: drop_policy(o, "scrapes"),
        "PodMonitor/workers",
        "spec.selector",
        "lets its pods be scraped",
    ),
    "an open door": (
        "dev",
        lambda o: find(o, "NetworkPolicy/scrapes")["spec"]["ingress"][0].pop("from"),
        "NetworkPolicy/scrapes",
        "spec.ingress",
        "lets everybody in",
    ),
    "somebody may talk to workers": (
        "dev",
        lambda o: find(o, "NetworkPolicy/scrapes")["spec"]["ingress"][0]["from"].append(
            {"namespaceSelector": {"matchLabels": {"team": "ml"}}}
        ),
        "NetworkPolicy/scrapes",
        "spec.ingress",
        "which serves nobody",
    ),
    "a way out of the closed cluster": (
        "air-gapped",
        lambda o: find(o, "NetworkPolicy/to-seaweedfs")["spec"]["egress"][0]["to"].append(
            {"ipBlock": {"cidr": "0.0.0.0/0"}}
        ),
        "NetworkPolicy/to-seaweedfs",
        "spec.egress",
        "leads out of the cluster",
    ),
    "a misspelt field of KEDA": (
        "production",
        lambda o: renamed(
            find(o, "ScaledObject/worker-tvm")["spec"], "cooldownPeriod", "coolDownPeriod"
        ),
        "ScaledObject/worker-tvm",
        "spec",
        "'coolDownPeriod' was unexpected",
    ),
    "a misspelt setting of the scaler": (
        "production",
        lambda o: renamed(metadata(o), "excludeUnacknowledged", "excludeUnacked"),
        "ScaledObject/worker-tvm",
        "spec.triggers.metadata",
        "excludeUnacked is none of the settings",
    ),
    "a scaler of a queue that is not there": (
        "production",
        lambda o: metadata(o).update(queueName="pool.tmv"),
        "ScaledObject/worker-tvm",
        "spec.triggers.metadata.queueName",
        "declares no queue pool.tmv",
    ),
    "a scaler that never adds a worker": (
        "production",
        lambda o: metadata(o).update(value="1"),
        "ScaledObject/worker-tvm",
        "spec.triggers.metadata.value",
        "never longer than there are workers",
    ),
    "a scaled Deployment with a number": (
        "production",
        lambda o: find(o, WORKER)["spec"].update(replicas=3),
        "ScaledObject/worker-tvm",
        "spec.scaleTargetRef",
        "every apply would undo the scaling",
    ),
    "a misspelt field of a rule": (
        "production",
        lambda o: renamed(
            next(o.of("PrometheusRule"))["spec"]["groups"][0]["rules"][0], "expr", "exrp"
        ),
        "PrometheusRule/",
        "spec.groups[0].rules[0]",
        "exrp",
    ),
    "a misspelt field of RabbitMQ's operator": (
        "production",
        lambda o: renamed(
            find(o, "RabbitmqCluster/rabbitmq")["spec"]["rabbitmq"], "additionalConfig", "config"
        ),
        "RabbitmqCluster/rabbitmq",
        "spec.rabbitmq",
        "'config' was unexpected",
    ),
    "rights of a user that is not there": (
        "production",
        lambda o: find(o, "Permission/worker-tvm")["spec"].update(userReference={"name": "tvm"}),
        "Permission/worker-tvm",
        "spec.userReference",
        "there is no User tvm",
    ),
    "a kind that Kubernetes does not have": (
        "dev",
        lambda o: find(o, "PriorityClass/tinymlaas-worker").update(
            apiVersion="scheduling.k8s.io/v1beta1"
        ),
        "PriorityClass/tinymlaas-worker",
        "apiVersion",
        "has no scheduling.k8s.io/v1beta1 PriorityClass",
    ),
    "two of one name": (
        "dev",
        lambda o: o.objects.append(find(o, "Service/scheduler")),
        "Service/scheduler",
        "metadata.name",
        "is there 2 times",
    ),
}


@pytest.mark.parametrize("mistake", PLANTED)
def test_a_planted_mistake_is_caught(overlay, mistake):
    name, plant, where, field, said = PLANTED[mistake]
    changed = overlay(name)
    plant(changed)
    found = check(changed)
    hits = [f for f in found if where in f.object and field in f.field and said in f.said]
    assert hits, [each.line() for each in found]
    assert all(each.overlay == name for each in hits)
