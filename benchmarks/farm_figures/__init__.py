"""The parts of benchmarks/farm.py: one module a figure, on real processes and real services."""
