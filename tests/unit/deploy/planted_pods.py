"""Mistakes in what a pod is, takes and may do."""

from tests.unit.deploy.planting import (
    SCHEDULER,
    WORKER,
    alone,
    by_the_clock,
    container,
    find,
    limits,
    pod,
    rabbitmq,
    renamed,
)

# What is changed in which overlay; at which object and field it is told; words of the reason.
PODS = {
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
    "a dash left over": (
        "dev",
        lambda o: container(find(o, WORKER))["env"].append(None),
        WORKER,
        "spec.template.spec.containers[0].env[",
        "is empty",
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
    "a root user, by the clock": (
        "dev",
        lambda o: o.objects.append(by_the_clock()),
        "CronJob/nightly",
        "containers[gc].securityContext.runAsUser",
        "has to be a number, not 0",
    ),
    "a root user, alone": (
        "dev",
        lambda o: o.objects.append(alone()),
        "Pod/gc",
        "containers[gc].securityContext.runAsUser",
        "has to be a number, not 0",
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
    "a seccomp profile in which nothing can be built": (
        "dev",
        lambda o: container(find(o, WORKER))["securityContext"].update(
            seccompProfile={"type": "RuntimeDefault"}
        ),
        WORKER,
        "containers[worker].securityContext.seccompProfile.localhostProfile",
        "the sandbox needs it",
    ),
    "a volume of no kind": (
        "dev",
        lambda o: pod(find(o, WORKER))["volumes"][0].pop("secret"),
        WORKER,
        "volumes[secret-key]",
        "is of no kind",
    ),
    "a broker's container that is not admitted": (
        "production",
        lambda o: rabbitmq(o)["containers"][0].pop("securityContext"),
        "RabbitmqCluster/rabbitmq",
        "spec.override.statefulSet.containers",
        "no pod of it is admitted",
    ),
    "a broker's pod that is not admitted": (
        "production",
        lambda o: rabbitmq(o)["securityContext"].pop("seccompProfile"),
        "RabbitmqCluster/rabbitmq",
        "spec.override.statefulSet",
        "no pod of it is admitted",
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
}
