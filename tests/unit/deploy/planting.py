"""How a mistake is planted into rendered objects."""

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


def volume(thing, name):
    return next(each for each in pod(thing)["volumes"] if each["name"] == name)


def rabbitmq(overlay):
    cluster = find(overlay, "RabbitmqCluster/rabbitmq")
    return cluster["spec"]["override"]["statefulSet"]["spec"]["template"]["spec"]


def unmounted(container, name):
    container["volumeMounts"] = [m for m in container["volumeMounts"] if m["name"] != name]


def limits(thing):
    return container(thing)["resources"]["limits"]


def drop_policy(overlay, name):
    overlay.objects.remove(find(overlay, f"NetworkPolicy/{name}"))


def metadata(overlay, pool="tvm"):
    return find(overlay, f"ScaledObject/worker-{pool}")["spec"]["triggers"][0]["metadata"]


def alone():
    root = {"securityContext": {"runAsUser": 0}, "name": "gc", "image": "x/gc:1"}
    spec = {"containers": [root], "restartPolicy": "Never"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gc"}, "spec": spec}


def by_the_clock():
    job = {"spec": {"template": {"spec": alone()["spec"]}}}
    spec = {"schedule": "0 3 * * *", "jobTemplate": job}
    named = {"metadata": {"name": "nightly"}}
    return {"apiVersion": "batch/v1", "kind": "CronJob", **named, "spec": spec}
