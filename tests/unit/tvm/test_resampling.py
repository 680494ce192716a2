"""Resize weights against ONNX's reference implementation, one axis at a time."""

import numpy as np
import pytest

from workers.compilers.tvm.graph.resampling import Axis, Sampling, weights

TRANSFORMATIONS = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "asymmetric",
    "align_corners",
)


def reference(x, scale, **attrs):
    import onnx
    from onnx import helper as h
    from onnx.reference import ReferenceEvaluator

    inputs = [h.make_tensor_value_info("x", onnx.TensorProto.FLOAT, x.shape)]
    outputs = [h.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)]
    scales = h.make_tensor("s", onnx.TensorProto.FLOAT, [1], [scale])
    node = h.make_node("Resize", ["x", "", "s"], ["y"], **attrs)
    graph = h.make_graph([node], "g", inputs, outputs, [scales])
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 19)])
    return ReferenceEvaluator(model).run(None, {"x": x})[0]


@pytest.mark.parametrize("transformation", TRANSFORMATIONS)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("scale", [0.4, 0.75, 1.7, 3.0])
def test_like_the_reference(mode, transformation, scale):
    x = np.random.default_rng(0).normal(size=11).astype(np.float32)
    variants = [{}]
    if mode == "nearest":
        choices = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        variants = [{"nearest_mode": choice} for choice in choices]
    elif mode == "cubic":
        variants = [{"exclude_outside": 1}, {"cubic_coeff_a": -0.5}, {"antialias": 1}]
    else:
        variants = [{}, {"antialias": 1}]
    for variant in variants:
        attrs = {"mode": mode, "coordinate_transformation_mode": transformation, **variant}
        expected = reference(x, scale, **attrs)
        single = float(np.float32(scale))  # the model holds it so
        matrix = weights(Axis(11, len(expected), single), Sampling(**attrs))
        np.testing.assert_allclose(matrix @ x, expected, atol=1e-5, err_msg=str(attrs))


def test_interpolation_keeps_a_constant():
    for mode in ("linear", "cubic"):
        matrix = weights(Axis(7, 12, 12 / 7), Sampling(mode=mode))
        np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


def test_unknown_modes_are_named():
    with pytest.raises(ValueError, match="sinc"):
        weights(Axis(4, 8, 2.0), Sampling(mode="sinc"))
    with pytest.raises(ValueError, match="polar"):
        weights(Axis(4, 8, 2.0), Sampling(coordinate_transformation_mode="polar"))
