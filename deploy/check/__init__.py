"""What can be known of the manifests without a cluster: ``make deploy-check``.

Every overlay is rendered as ``kubectl apply -k`` would, every object held against the schemas of
three Kubernetes versions and of the operators' own kinds, and all of it against rules of ours: who
may do what in a pod, who may talk to whom, whether names lead somewhere, whether settings are such
as the code reads.
"""
