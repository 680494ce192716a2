"""Composition roots of a farm: they alone choose its adapters and read its environment.

`scheduler` and `worker` are the two kinds of process, `up` runs all of them on one machine.
"""
