"""Mistakes between objects: selectors, networks, operators."""

from tests.unit.deploy.planting import SCHEDULER, WORKER, drop_policy, find, metadata, pod, renamed

# What is changed in which overlay; at which object and field it is told; words of the reason.
OTHERS = {
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
    "a way from workers to everywhere": (
        "production",
        lambda o: find(o, "NetworkPolicy/to-s3")["spec"]["egress"][0].pop("to"),
        "NetworkPolicy/to-s3",
        "spec.egress",
        "lets pods of ours go everywhere",
    ),
    "a scaler that nobody answers": (
        "production",
        lambda o: drop_policy(o, "rabbitmq-from-keda"),
        "ScaledObject",
        "(whole)",
        "lets KEDA ask RabbitMQ",
    ),
    "a secret among the manifests": (
        "dev",
        lambda o: o.objects.append(
            {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}, "stringData": {}}
        ),
        "Secret/x",
        "(whole)",
        "stands in the manifests",
    ),
    "an object outside of the namespace": (
        "production",
        lambda o: find(o, "PodMonitor/workers")["metadata"].pop("namespace"),
        "PodMonitor/workers",
        "metadata.namespace",
        "is None, not tinymlaas",
    ),
    "a scaler without an address": (
        "production",
        lambda o: find(o, "TriggerAuthentication/rabbitmq")["spec"].pop("secretTargetRef"),
        "TriggerAuthentication/rabbitmq",
        "spec.secretTargetRef",
        "gives no host",
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
    "a pool that ends before it is known": (
        "production",
        lambda o: find(o, "ScaledObject/worker-tvm")["spec"].pop("initialCooldownPeriod"),
        "ScaledObject/worker-tvm",
        "spec.initialCooldownPeriod",
        "before a worker has said what it can",
    ),
    "a budget that keeps a node from being drained": (
        "production",
        lambda o: find(o, "PodDisruptionBudget/worker-tvm")["spec"].pop(
            "unhealthyPodEvictionPolicy"
        ),
        "PodDisruptionBudget/worker-tvm",
        "spec.unhealthyPodEvictionPolicy",
        "no node drains",
    ),
    "a cluster that may lose its majority": (
        "production",
        lambda o: o.objects.remove(find(o, "PodDisruptionBudget/rabbitmq")),
        "RabbitmqCluster/rabbitmq",
        "(whole)",
        "two at once take the majority",
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
