"""Mistakes in what a container is told, and in its times, probes and image."""

from tests.unit.deploy.planting import (
    SCHEDULER,
    WORKER,
    container,
    find,
    init,
    pod,
    unmounted,
    variable,
    volume,
)

# What is changed in which overlay; at which object and field it is told; words of the reason.
SETTINGS = {
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
    "a pool that the scheduler does not expect": (
        "dev",
        lambda o: variable(find(o, SCHEDULER), "TINYMLAAS_POOLS").update(value="tflm,cmsis-nn"),
        WORKER,
        "containers[worker].args",
        "does not name tvm",
    ),
    "a pool that nobody works for": (
        "dev",
        lambda o: o.objects.remove(find(o, WORKER)),
        SCHEDULER,
        "containers[scheduler].env",
        "TINYMLAAS_POOLS names tvm",
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
        lambda o: container(find(o, WORKER))["env"].append(
            {"name": "AWS_SECRET_ACCESS_KEY", "value": "hunter2"}
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
    "another pool's key": (
        "dev",
        lambda o: volume(find(o, WORKER), "secret-key")["secret"].update(
            secretName="signing-key-tflm"
        ),
        WORKER,
        "volumes[secret-key]",
        "is another pool's",
    ),
    "a signer that the worker waits for until it ends": (
        "dev",
        lambda o: init(find(o, WORKER), "signer").pop("restartPolicy"),
        WORKER,
        "initContainers[signer].restartPolicy",
        "has to be Always",
    ),
    "a key of another name": (
        "dev",
        lambda o: init(find(o, WORKER), "key")["command"].__setitem__(
            3, "/etc/tinymlaas/key/builder-tmv.key"
        ),
        WORKER,
        "initContainers[key].command",
        "Secret signing-key-tvm has no key builder-tmv.key",
    ),
    "a key that nobody can read": (
        "dev",
        lambda o: pod(find(o, WORKER))["securityContext"].pop("fsGroup"),
        WORKER,
        "securityContext.fsGroup",
        "nobody but root could read volumes[secret-key]",
    ),
    "a key on a disk": (
        "dev",
        lambda o: volume(find(o, WORKER), "key")["emptyDir"].pop("medium"),
        WORKER,
        "initContainers[signer].args",
        "no key lies on a disk",
    ),
    "a signer that the worker cannot reach": (
        "dev",
        lambda o: unmounted(container(find(o, WORKER)), "signer"),
        WORKER,
        "containers[worker].env[TINYMLAAS_SIGNER]",
        "there is no volume at /run/tinymlaas/signer/socket",
    ),
    "no limit of a job": (
        "dev",
        lambda o: container(find(o, WORKER))["env"].remove(
            variable(find(o, WORKER), "TINYMLAAS_JOB_MEMORY")
        ),
        WORKER,
        "containers[worker].env",
        "more than the container",
    ),
    "a policy that lies elsewhere": (
        "dev",
        lambda o: variable(find(o, SCHEDULER), "TINYMLAAS_POLICY").update(value="/etc/policy.toml"),
        SCHEDULER,
        "containers[scheduler].env[TINYMLAAS_POLICY]",
        "there is no volume at /etc/policy.toml",
    ),
    "a keyring of another name": (
        "dev",
        lambda o: variable(find(o, SCHEDULER), "TINYMLAAS_KEYRING").update(
            value="/etc/tinymlaas/keyring/ring.json"
        ),
        SCHEDULER,
        "containers[scheduler].env[TINYMLAAS_KEYRING]",
        "ConfigMap keyring has no key ring.json",
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
}
