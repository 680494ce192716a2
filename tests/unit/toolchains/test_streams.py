import struct

import numpy as np
import pytest

from tests.unit.toolchains.handmade import INTEGER
from workers.verify import streams

INPUTS = [tensor.spec for tensor in INTEGER.compiled.inputs]
OUTPUTS = [tensor.spec for tensor in INTEGER.compiled.outputs]


def sample(value):
    return [np.full((4, 4), value, np.int8), np.arange(4, dtype=np.int32)]


def test_the_input_stream_is_sizes_and_bytes():
    stream = streams.encode([sample(7)], INPUTS, OUTPUTS)
    expected = struct.pack("<IIII", 1, 2, 2, 16) + bytes([7]) * 16
    expected += struct.pack("<I4i", 16, 0, 1, 2, 3) + struct.pack("<II", 16, 8)
    assert stream == expected


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((16,), np.int8),
        np.zeros((4, 4), np.float32),
    ],
)
def test_a_sample_of_another_kind_is_refused(wrong):
    with pytest.raises(ValueError, match=r"x is int8\[4, 4\]"):
        streams.encode([[wrong, sample(0)[1]]], INPUTS, OUTPUTS)


def test_the_answer_has_measurements_and_outputs():
    y, total = np.arange(16, dtype=np.int8), np.int64(-(2**40))
    stream = struct.pack("<iIII", 0, 5, 0, 4) + struct.pack("<iIII", 0, 50, 0, 8)
    stream += struct.pack("<iIII", 0, 500, 1, 16) + y.tobytes() + total.tobytes()
    answer = streams.decode(stream, 1, OUTPUTS)
    assert answer.empty.fine == 5
    assert answer.init.stack == 8
    assert answer.samples == (streams.Measurement(0, 500, 1, 16),)
    assert np.array_equal(answer.outputs[0][0], y)
    assert answer.outputs[0][1].shape == ()
    assert answer.outputs[0][1] == total
    for broken in (stream[:-1], stream + b"x", b""):
        with pytest.raises(streams.BrokenStream):
            streams.decode(broken, 1, OUTPUTS)
