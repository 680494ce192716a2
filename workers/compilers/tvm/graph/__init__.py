"""ONNX to the simpler ONNX that TVM's importer takes and gets right.

`walk` visits every node once with all shapes known: what depends on shapes and constants alone is
computed, operators of the `rewrites` table are put in terms of plainer ones, the rest is kept.
"""
