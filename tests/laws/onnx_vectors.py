"""Writes onnx_vectors.json: what ONNX's own Python package answers, for `onnx.rs` to compare with.

    pip install onnx==1.23.2 && python tests/laws/onnx_vectors.py

Two kinds of cases: the operators' official backend tests ("official", from the package's
`onnx.backend.test`, Apache-2.0), and cases of ours that its reference evaluator answers. Left out
are values whose quotient overflows int32: there the evaluator's conversion is undefined, while the
specification saturates. Floats are written in the fewest digits that give the same f32 again.
"""

import json
import pathlib
import warnings

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

TYPES = ["uint8", "int8", "uint16", "int16", "uint4", "int4", "uint2", "int2"]
BITS = {name: int(name.split("int")[1]) for name in TYPES}
ENDS = {
    name: (0, 2**b - 1) if name[0] == "u" else (-(2 ** (b - 1)), 2 ** (b - 1) - 1)
    for name, b in BITS.items()
}
NUMBERS = {name: getattr(TensorProto, name.upper()) for name in [*TYPES, "int32"]}
OPSET = {"QuantizeLinear": 25, "DequantizeLinear": 25, "DynamicQuantizeLinear": 11}
random = np.random.default_rng(20)


def plain(array):
    """The shape, and the elements as JSON numbers."""
    array = np.asarray(array)
    number = short if array.dtype == np.float32 else int
    return list(array.shape), [number(value) for value in array.reshape(-1)]


def short(value):
    number = float(str(np.float32(value)))
    assert np.float32(number) == value
    return number


def typed(values, name):
    return np.asarray(values).astype(helper.tensor_dtype_to_np_dtype(NUMBERS[name]))


def case(op, title, inputs, outputs, name, axis=1, block_size=0):
    shape, x = plain(inputs[0])
    row = {"op": op, "title": title, "type": name, "shape": shape, "x": x, "y": plain(outputs[0])[1]}
    if op == "DynamicQuantizeLinear":
        return row | {"scale": short(outputs[1]), "zero_point": int(outputs[2])}
    scale_shape, scale = plain(inputs[1])
    zero_point = plain(inputs[2])[1] if len(inputs) > 2 else None
    row |= {"scale_shape": scale_shape, "scale": scale, "zero_point": zero_point}
    return row | {"axis": axis, "block_size": block_size}


def evaluate(op, title, inputs, name, **attributes):
    """A case of ours, answered by the reference evaluator."""
    if op == "QuantizeLinear" and len(inputs) == 2 and name != "uint8":
        node_attributes = attributes | {"output_dtype": NUMBERS[name]}
    else:
        node_attributes = attributes
    outputs = ["y", "scale", "zero_point"][: 3 if op.startswith("Dynamic") else 1]
    names = ["x", "s", "z"][: len(inputs)]
    value = lambda n: helper.make_tensor_value_info(n, TensorProto.UNDEFINED, None)
    graph = helper.make_graph(
        [helper.make_node(op, names, outputs, **node_attributes)],
        "case", [value(n) for n in names], [value(n) for n in outputs],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET[op])])
    answers = ReferenceEvaluator(model).run(None, dict(zip(names, inputs)))
    return case(op, title, inputs, answers, name, **attributes)


def official():
    read = lambda t: numpy_helper.to_array(t) if hasattr(t, "raw_data") else np.asarray(t)
    for test in collect_testcases(None):
        node = test.model.graph.node[0]
        op = node.op_type
        if op not in OPSET or "expanded" in test.name:
            continue
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        attributes.pop("output_dtype", None)
        inputs, outputs = (list(map(read, side)) for side in test.data_sets[0])
        codes, floats = outputs[0], inputs[0]
        if op == "DequantizeLinear":
            codes, floats = floats, codes
        name = codes.dtype.name
        if name in NUMBERS and floats.dtype == np.float32:
            yield case(op, f"official {test.name}", inputs, outputs, name, **attributes)


def pairs(shape, name):
    """Scales, some of them powers of two, and zero points, both ends among them."""
    count = int(np.prod(shape))
    scale = random.uniform(0.01, 3.0, count).astype(np.float32)
    scale[::3] = 2.0 ** random.integers(-4, 3, len(scale[::3]))
    zero_point = random.integers(*ENDS[name], count, endpoint=True)
    zero_point[: 2] = ENDS[name][: count][: 2]
    random.shuffle(zero_point)
    return scale.reshape(shape), typed(zero_point.reshape(shape), name)


def spread(array, shape, axis=0, block_size=0):
    """A scalar, per-axis or blocked array, repeated so that each element of `shape` has its own."""
    if block_size:
        return np.repeat(array, block_size, axis).take(range(shape[axis]), axis)
    along = [shape[i] if i == axis % len(shape) else 1 for i in range(len(shape))]
    return np.broadcast_to(array.reshape(along) if array.ndim else array, shape)


def around(scale, zero_point, shape, name, **attributes):
    """Values on the codes, half-way between two, near those, and beyond both ends."""
    scale, zero_point = (spread(a, shape, **attributes) for a in (scale, zero_point.astype(np.int32)))
    lo, hi = ENDS[name]
    half_steps = random.integers(2 * lo - 6, 2 * hi + 6, shape) - 2 * zero_point
    x = (half_steps / 2 * scale).astype(np.float32)
    noise = random.uniform(-0.6, 0.6, shape) * scale * random.integers(0, 2, shape)
    return (x + noise).astype(np.float32)


def ours():
    for name in TYPES:
        lo, hi = ENDS[name]
        codes = lambda shape: typed(random.integers(lo, hi, shape, endpoint=True), name)
        for zero_point in [lo, hi, (lo + hi) // 2]:
            z = typed(zero_point, name)
            for scale in [np.float32(0.5), np.float32(0.1)]:
                title = f"per tensor, zero point {zero_point}, scale {scale:.1f}"
                x = around(scale, z, (14,), name)
                x[:4] = 0.0, -0.0, 1e8 * scale, -1e8 * scale
                yield evaluate("QuantizeLinear", title, [x, scale, z], name)
                ends = typed([lo, hi], name)
                x = np.concatenate([codes(5), ends])
                yield evaluate("DequantizeLinear", title, [x, scale, z], name)
        no_zero_point = [np.linspace(-3, 3, 13, dtype=np.float32), np.float32(0.25)]
        yield evaluate("QuantizeLinear", "no zero point", no_zero_point, name)
        yield evaluate("DequantizeLinear", "no zero point", [codes((2, 3)), np.float32(0.3)], name)
        for axis in [0, 1, -1, -3]:
            shape = (2, 3, 2)
            s, z = pairs((shape[axis],), name)
            x = around(s, z, shape, name, axis=axis)
            yield evaluate("QuantizeLinear", "per axis", [x, s, z], name, axis=axis)
            yield evaluate("DequantizeLinear", "per axis", [codes(shape), s, z], name, axis=axis)
        blocked = [((2, 6), 1, 3), ((2, 5), 1, 3), ((5, 2), 0, 2), ((2, 5, 2), -2, 4), ((7,), -1, 3)]
        for shape, axis, size in blocked:
            groups = list(shape)
            groups[axis] = -(-shape[axis] // size)
            s, z = pairs(tuple(groups), name)
            title = "blocked, the last block short" if shape[axis] % size else "blocked"
            attributes = {"axis": axis, "block_size": size}
            x = around(s, z, shape, name, **attributes)
            yield evaluate("QuantizeLinear", title, [x, s, z], name, **attributes)
            yield evaluate("DequantizeLinear", title, [codes(shape), s, z], name, **attributes)
    big = np.array([0, 1, -1, 2**24 + 1, -(2**24) - 1, 2**31 - 1, -(2**31)], np.int32)
    yield evaluate("DequantizeLinear", "int32", [big, np.float32(0.1)], "int32")
    s = np.array([0.5, 1e-3, 3.0], np.float32)
    yield evaluate("DequantizeLinear", "int32 per axis", [big[:6].reshape(3, 2), s], "int32", axis=0)
    yield evaluate("DequantizeLinear", "int32 blocked", [big[:5], s], "int32", axis=0, block_size=2)

    dynamic = {
        "both signs": random.normal(0, 1, (4, 6)),
        "both signs, wide": random.normal(0, 1e20, 12),
        "both signs, narrow": random.normal(0, 1e-30, 12),
        "all positive": random.uniform(2, 9, (2, 3, 2)),
        "all negative": random.uniform(-9, -2, 9),
        "one constant above 0": np.full(4, 3.7),
        "one constant below 0": np.full((2, 2), -0.3),
        "a single element": np.array(-5.5),
        "all zero": np.zeros(5),
        "the zero point half-way": np.array([-0.5, 254.5, 1.5, 2.5, 100.0]),
        "the zero point half-way, odd": np.array([-1.5, 253.5, 0.5, -0.5, 3.5]),
    }
    for title, x in dynamic.items():
        yield evaluate("DynamicQuantizeLinear", title, [x.astype(np.float32)], "uint8")
    for step in range(12):
        x = random.uniform(-random.uniform(0, 3), random.uniform(0, 3), 8).astype(np.float32)
        yield evaluate("DynamicQuantizeLinear", f"random {step}", [x], "uint8")


warnings.simplefilter("ignore")  # of the package's other tests
cases = [*official()]
warnings.simplefilter("error")  # nothing of ours may overflow
cases += ours()
origin = (
    f"onnx {onnx.__version__} (Apache-2.0), by onnx_vectors.py: `official` cases are its backend "
    "tests, the others are answered by its ReferenceEvaluator"
)
lines = ",\n".join(json.dumps(c, allow_nan=False, separators=(",", ":")) for c in cases)
path = pathlib.Path(__file__).with_suffix(".json")
path.write_text(f'{{"origin": {json.dumps(origin)},\n"cases": [\n{lines}\n]}}\n')
