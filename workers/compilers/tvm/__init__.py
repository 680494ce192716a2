"""The in-tree compiler ``tvm``: Relax to plain C with raw pointers and one arena.

Way of a model: `importer` (bytes to Relax) → `pipeline` (legalise, fold, fuse, schedule) →
`lower` (loops over flat buffers) → `kernel` (C functions) and `program` (calls over buffers) →
`plan` (arena offsets) → `emit` (one C file). `plugin` is the interface the service runs.
"""
