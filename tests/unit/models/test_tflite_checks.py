"""The flatbuffer verifier and what a TFLite model must satisfy beyond its layout."""

import copy
import importlib
import struct

import pytest
from ai_edge_litert import schema_py_generated as schema

from tests.unit.models.builders import pack, tflite_builder, tiny_tflite
from tinymlaas.contract.errors import InvalidModel
from workers.models.flatbuffer import verify
from workers.models.limits import DEFAULT_LIMITS, ModelLimits
from workers.models.tflite_checks import check_tflite
from workers.models.tflite_schema import ROOT, tflite_schema


def reason(data: bytes, limits: ModelLimits = DEFAULT_LIMITS) -> str:
    with pytest.raises(InvalidModel) as caught:
        check_tflite(data, limits)
    return str(caught.value)


def changed(change) -> bytes:
    build, inputs, outputs = tflite_builder()
    tree = build.tree(inputs, outputs)
    change(tree)
    return pack(tree)


def test_sound_model_is_read():
    model = check_tflite(tiny_tflite(), DEFAULT_LIMITS)
    (graph,) = model.graphs
    assert [each.name for each in graph.operators] == ["CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert graph.tensors[0].signature == (-1, 6, 6, 1)
    assert graph.tensors[1].data_bytes == 2 * 3 * 3 * 4


@pytest.mark.parametrize("package", ["tflite", "ai_edge_litert.schema_py_generated"])
def test_schema_knows_every_slot_the_accessors_read(package):
    """A table's builder function says how many slots it has: none may go unverified."""
    module = importlib.import_module(package)
    checked = 0
    for name, fields in tflite_schema().tables.items():
        table = getattr(module, name, None)
        start = (
            getattr(importlib.import_module(f"tflite.{name}"), f"{name}Start", None)
            if (package == "tflite" and table is not None)
            else getattr(module, f"{name}Start", None)
        )
        if table is None or start is None:
            continue
        slots = _slots(start)
        known = {field.slot for field in fields}
        # ResizeBilinearOptions' first two slots and SignatureDef's fourth were removed.
        gone = {"ResizeBilinearOptions": {0, 1}, "SignatureDef": {3}}.get(name, set())
        assert known | gone >= set(range(slots)), name
        checked += 1
    assert checked > 130


def _slots(start) -> int:
    class Counter:
        slots = 0

        def StartObject(self, count):
            self.slots = count

    counter = Counter()
    start(counter)
    return counter.slots


def test_union_codes_agree_with_the_published_enumerations():
    unions = tflite_schema().unions
    for name in ("BuiltinOptions", "BuiltinOptions2", "QuantizationDetails", "SparseIndexVector"):
        published = {
            code: table
            for table, code in vars(getattr(schema, name)).items()
            if isinstance(code, int)
        }
        published.pop(0)
        assert published.items() <= dict(unions[name]).items()  # ours may know a later schema


@pytest.mark.parametrize("position", [0, 4, 8])
def test_root_offset_outside(position):
    data = bytearray(tiny_tflite())
    struct.pack_into("<I", data, position, 0xFFFFFFF0)
    assert reason(bytes(data))


def test_vector_length_outside_the_file():
    data = tiny_tflite()
    at = data.index(b"conv\0") - 4
    grown = bytearray(data)
    struct.pack_into("<I", grown, at, 1 << 30)
    assert "outside the file" in reason(bytes(grown))


def test_string_without_terminator():
    data = tiny_tflite().replace(b"conv\0", b"conv!")
    assert "terminator" in reason(data)


def test_work_is_bounded():
    with pytest.raises(InvalidModel, match="too many tables"):
        verify(tiny_tflite(), tflite_schema(), ROOT, ModelLimits(visited=10))


def test_a_vector_of_one_table_many_times_is_cheap_but_bounded():
    """The same table referred to again and again is visited once."""
    many = changed(lambda tree: tree.subgraphs[0].tensors.extend(tree.subgraphs[0].tensors * 500))
    check_tflite(many, DEFAULT_LIMITS)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: setattr(t, "version", 2), "schema version 2"),
        (lambda t: setattr(t, "subgraphs", []), "no subgraph"),
        (lambda t: setattr(t.subgraphs[0], "outputs", []), "no outputs"),
        (lambda t: setattr(t.subgraphs[0], "outputs", [99]), "does not exist"),
        (lambda t: setattr(t.subgraphs[0], "inputs", [-1]), "does not exist"),
        (lambda t: setattr(t.subgraphs[0].operators[0], "inputs", [0, 99, 2]), "does not exist"),
        (lambda t: setattr(t.subgraphs[0].operators[0], "outputs", [-1]), "does not exist"),
        (lambda t: setattr(t.subgraphs[0].operators[0], "opcodeIndex", 7), "operator code 7"),
        (lambda t: setattr(t.subgraphs[0].tensors[0], "buffer", 77), "buffer"),
        (lambda t: setattr(t.subgraphs[0].tensors[0], "shape", [1, -6, 6, 1]), "negative"),
        (lambda t: setattr(t.subgraphs[0].tensors[0], "shape", [1 << 30, 8]), "larger than"),
        (lambda t: setattr(t.subgraphs[0].tensors[1], "shape", [2, 3, 3, 2]), "needs 144 bytes"),
        (lambda t: setattr(t.subgraphs[0].tensors[0], "shapeSignature", [-1]), "signature"),
        (lambda t: setattr(t.subgraphs[0].tensors[1], "type", 5), "constant of type STRING"),
        (lambda t: setattr(t.subgraphs[0].tensors[1], "type", 99), "constant of type TYPE_99"),
        (lambda t: t.subgraphs[0].operators.reverse(), "before it is written"),
        (lambda t: t.subgraphs[0].operators.append(t.subgraphs[0].operators[0]), "already"),
        (lambda t: t.subgraphs[0].operators.pop(), "never written"),
        (lambda t: setattr(t.buffers[1], "offset", 4096), "external data"),
    ],
)
def test_damage_below_a_sound_layout(change, words):
    assert words in reason(changed(change))


def _quantized(scales, zero_points, dimension=0):
    def change(tree):
        parameters = schema.QuantizationParametersT()
        parameters.scale, parameters.zeroPoint = scales, zero_points
        parameters.quantizedDimension = dimension
        tree.subgraphs[0].tensors[1].quantization = parameters

    return change


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        (([float("nan")], [0]), "not finite"),
        (([0.1, 0.2, 0.3], [0, 0, 0]), "3 scales along dimension 0"),
        (([0.1, 0.2], [0, 0], 9), "2 scales along dimension 9"),
        (([0.1, 0.2], [0, 0, 0]), "3 zero points"),
    ],
)
def test_quantization_parameters(parameters, words):
    assert words in reason(changed(_quantized(*parameters)))


@pytest.mark.parametrize(
    ("kind", "zero", "sound"),
    [
        ("INT8", 127, True),
        ("INT8", 128, False),
        ("INT8", -129, False),
        ("UINT8", 255, True),
        ("UINT8", -1, False),
        ("INT16", -32768, True),
        ("INT16", 1 << 40, False),
        ("INT32", 1 << 40, True),
    ],
)
def test_zero_points_are_values_of_their_type(kind, zero, sound):
    def change(tree):
        _quantized([0.1], [zero])(tree)
        tensor = tree.subgraphs[0].tensors[1]
        tensor.type = getattr(schema.TensorType, kind)
        # nothing else may be wrong with it, so it gets the bytes of its type
        count = 2 * 3 * 3
        width = {"INT8": 1, "UINT8": 1, "INT16": 2, "INT32": 4}[kind]
        tree.buffers[tensor.buffer].data = bytes(count * width)

    if sound:
        check_tflite(changed(change), DEFAULT_LIMITS)
    else:
        assert f"has zero point {zero}, which {kind} cannot hold" in reason(changed(change))


def test_sound_quantization_passes():
    check_tflite(changed(_quantized([0.1, 0.2], [0, 0])), DEFAULT_LIMITS)


def test_signatures_are_checked():
    def change(tree):
        entry = schema.TensorMapT()
        entry.name, entry.tensorIndex = "x", 55
        signature = schema.SignatureDefT()
        signature.inputs, signature.outputs, signature.subgraphIndex = [entry], [], 0
        tree.signatureDefs = [signature]

    assert "signature" in reason(changed(change))


def test_called_subgraphs_are_checked():
    def change(tree):
        operator = tree.subgraphs[0].operators[0]
        operator.builtinOptions = schema.IfOptionsT()
        operator.builtinOptions.thenSubgraphIndex = 3
        operator.builtinOptionsType = schema.BuiltinOptions.IfOptions

    assert "calls a subgraph" in reason(changed(change))


def test_external_buffers_of_newer_files_are_refused():
    def change(tree):
        group = schema.ExternalBufferGroupT()
        group.name = "weights.bin"
        tree.externalBufferGroups = [group]
        buffer = schema.ExternalBufferT()
        buffer.id, buffer.group, buffer.offset, buffer.length = 1, 0, 0, 72
        tree.externalBuffers = [buffer]

    assert "external data" in reason(changed(change))


def _calling(tree, number, target, kind="IfOptions"):
    """Give subgraph `number` an operator that calls subgraph `target`."""
    operator = tree.subgraphs[number].operators[0]
    operator.builtinOptions = schema.IfOptionsT()
    operator.builtinOptions.thenSubgraphIndex = target
    operator.builtinOptions.elseSubgraphIndex = target
    operator.builtinOptionsType = schema.BuiltinOptions.IfOptions
    tree.operatorCodes.append(schema.OperatorCodeT())
    tree.operatorCodes[-1].builtinCode = tree.operatorCodes[-1].deprecatedBuiltinCode = 118
    operator.opcodeIndex = len(tree.operatorCodes) - 1


@pytest.mark.parametrize("circle", [[(1, 1)], [(1, 2), (2, 1)], [(0, 1), (1, 2), (2, 1)]])
def test_subgraphs_that_call_one_another_in_a_circle(circle):
    def change(tree):
        for _ in range(2):
            tree.subgraphs.append(copy.deepcopy(tree.subgraphs[0]))
        for caller, called in circle:
            _calling(tree, caller, called)

    assert "in a circle" in reason(changed(change))


def test_options_of_another_operator():
    def change(tree):
        operator = tree.subgraphs[0].operators[0]
        operator.builtinOptions = schema.Pool2DOptionsT()
        operator.builtinOptionsType = schema.BuiltinOptions.Pool2DOptions

    assert "CONV_2D has Pool2DOptions, not Conv2DOptions" in reason(changed(change))


def test_operators_that_call_subgraphs_in_ways_of_their_own():
    def change(tree):
        operator = tree.subgraphs[0].operators[0]
        operator.builtinOptions = None
        operator.builtinOptionsType = 0
        operator.builtinOptions2 = schema.StablehloSortOptionsT()
        operator.builtinOptions2Type = schema.BuiltinOptions2.StablehloSortOptions

    assert "computes with a subgraph (StablehloSortOptions)" in reason(changed(change))


def test_buffers_that_overlap():
    """A thousand buffers that are one vector would be copied a thousand times."""
    data = bytearray(changed(lambda t: t.buffers.extend([schema.BufferT()] * 2000)))
    where = _vector_of_buffers(data)
    (count,) = struct.unpack_from("<I", data, where)
    end = where + 4 + 4 * count
    first = where + 4 + 4  # the kernel's; the one before is empty
    table = first + struct.unpack_from("<I", data, first)[0]
    for place in range(end - 4 * 2000, end, 4):
        struct.pack_into("<I", data, place, table - place)
    assert "overlap" in reason(bytes(data))


def _vector_of_buffers(data: bytes) -> int:
    (root,) = struct.unpack_from("<I", data, 0)
    vtable = root - struct.unpack_from("<i", data, root)[0]
    place = root + struct.unpack_from("<H", data, vtable + 4 + 2 * 4)[0]
    return place + struct.unpack_from("<I", data, place)[0]


@pytest.mark.parametrize("vector", ["shape", "shapeSignature"])
def test_too_many_dimensions(vector):
    data = changed(lambda t: setattr(t.subgraphs[0].tensors[0], vector, [1] * 17))
    assert "17 dimensions" in reason(data)


def test_more_than_the_limits():
    assert "more than 8 tensors" in reason(tiny_tflite(), ModelLimits(tensors=8))
    twice = changed(lambda t: setattr(t, "subgraphs", t.subgraphs * 2))
    assert "more than 1 subgraphs" in reason(twice, ModelLimits(functions=1))


def test_what_is_read_is_counted_each_time():
    assert "more than 50 elements" in reason(tiny_tflite(), ModelLimits(elements=50))


def sparse(**changes):
    """The kernel (2, 3, 3, 1), its first dimension compressed: row 1 alone is there."""

    def change(tree):
        def dimension(format, size=0, segments=None, indices=None):
            made = schema.DimensionMetadataT()
            made.format, made.denseSize = format, size
            for name, values in (("arraySegments", segments), ("arrayIndices", indices)):
                if values is not None:
                    vector = schema.Int32VectorT()
                    vector.values = values
                    setattr(made, name, vector)
                    setattr(made, f"{name}Type", schema.SparseIndexVector.Int32Vector)
            return made

        given = {"segments": [0, 1], "indices": [1], "order": [0, 1, 2, 3], "size": 3, **changes}
        parameters = schema.SparsityParametersT()
        parameters.traversalOrder = given["order"]
        parameters.blockMap = given.get("blocks", [])
        parameters.dimMetadata = [
            dimension(1, 0, given["segments"], given["indices"]),
            *(dimension(0, size) for size in (given["size"], 3, 1)),
        ]
        tensor = tree.subgraphs[0].tensors[1]
        tensor.sparsity = parameters
        tree.buffers[tensor.buffer].data = bytes(given.get("bytes", 9 * 4))

    return changed(change)


def test_sparse_constants_pass():
    assert check_tflite(sparse(), DEFAULT_LIMITS).graphs[0].tensors[1].sparse


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"indices": [2]}, "an index outside"),
        ({"indices": [-1]}, "an index outside"),
        ({"segments": [0, 2]}, "do not go with its rows"),
        ({"segments": [1, 1]}, "do not go with its rows"),
        ({"segments": [0]}, "do not go with its rows"),
        ({"segments": None}, "do not go with its rows"),
        ({"segments": [0, 3], "indices": [0, 1, 1]}, "more elements than its shape"),
        ({"size": 9}, "a dense dimension of 9"),
        ({"order": [0, 1, 2, 2]}, "an order of dimensions"),
        ({"order": [0, 1, 2]}, "an order of dimensions"),
        ({"order": [0, 1, 2, 9]}, "an order of dimensions"),
        ({"blocks": [7]}, "an order of dimensions"),
        ({"bytes": 8 * 4}, "32 bytes for 9 elements"),
    ],
)
def test_sparse_constants_stay_inside_their_tensor(changes, words):
    assert words in reason(sparse(**changes))
