"""Importing this imports TensorFlow, as a zygote does once for all that it will quantise."""

import importlib.util

from workers.quantise.libraries import tensorflow

if importlib.util.find_spec("tensorflow") is not None:
    tensorflow()
