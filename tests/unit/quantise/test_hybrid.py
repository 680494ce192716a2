from types import SimpleNamespace

import numpy as np
import pytest

from workers.quantise.hybrid import _real

STORED = np.array([[-2, 0], [3, 127]], np.int8)


def tensor(scales, zeros, dimension=0):
    quantization = SimpleNamespace(scale=scales, zeroPoint=zeros, quantizedDimension=dimension)
    return SimpleNamespace(shape=[2, 2], quantization=quantization)


@pytest.mark.parametrize(
    ("given", "want"),
    [
        (tensor([0.5], [0]), [[-1, 0], [1.5, 63.5]]),
        (tensor([0.5], [2], 1), [[-2, -1], [0.5, 62.5]]),
        (tensor([1, 2], [0, 0]), [[-2, 0], [6, 254]]),
        (tensor([1, 2], [0, 0], 1), [[-2, 0], [3, 254]]),
    ],
    ids=["one scale", "zero point", "by row", "by column"],
)
def test_weights_stand_for_scale_times_step(given, want):
    values = _real(STORED.view(np.uint8).reshape(-1), given)
    assert values.dtype == np.float32
    assert values.tolist() == want
