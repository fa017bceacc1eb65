"""Writes onnx_integer_vectors.json, for `onnx_integer.rs` to compare with.

    pip install onnx==1.23.2 onnxruntime==1.32.0 && python tests/laws/onnx_integer_vectors.py

The integer operators are answered by ONNX's own reference evaluator (Apache-2.0), the `QLinear`
operators by ONNX Runtime (MIT); where the reference evaluator answers otherwise, its codes stand
beside as "reference".
"""

import json
import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

random = np.random.default_rng(31)
U8, I8 = np.uint8, np.int8


def codes(shape, dtype):
    info = np.iinfo(dtype)
    return np.asarray(random.integers(info.min, info.max + 1, shape), dtype)


def model(op, inputs, attributes, out):
    names = [f"x{i}" if v is not None else "" for i, v in enumerate(inputs)]
    def info(name, v):
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(v.dtype), v.shape)
    given = [info(n, v) for n, v in zip(names, inputs) if v is not None]
    y = helper.make_tensor_value_info("y", helper.np_dtype_to_tensor_dtype(np.dtype(out)), None)
    node = helper.make_node(op, names, ["y"], **attributes)
    graph = helper.make_graph([node], op, given, [y])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return made, {n: v for n, v in zip(names, inputs) if v is not None}


def plain(v):
    if v is None:
        return None
    number = (lambda x: float(str(x))) if v.dtype == np.float32 else int
    return {"type": str(v.dtype), "shape": list(v.shape), "values": [number(x) for x in v.reshape(-1)]}


def case(op, inputs, out, by_runtime, **attributes):
    made, feed = model(op, inputs, attributes, out)
    reference = ReferenceEvaluator(made).run(None, feed)[0]
    y = reference
    row = {"op": op, "inputs": [plain(v) for v in inputs], "attributes": attributes}
    if by_runtime:
        y = onnxruntime.InferenceSession(made.SerializeToString()).run(None, feed)[0]
    row["y"] = plain(y)
    if not np.array_equal(y, reference):
        assert np.abs(y.astype(int) - reference.astype(int)).max() == 1, (row, reference)
        row["reference"] = plain(reference)["values"]
    return row


def scale(shape=()):
    return np.asarray(random.uniform(0.01, 0.1, shape), np.float32)


def write():
    cases = []
    for a in (U8, I8):
        for b in (U8, I8):
            for sa, sb in [((3, 5), (5, 4)), ((2, 3, 5), (5, 4)), ((2, 1, 3, 5), (3, 5, 2)), ((5,), (5, 4)), ((3, 5), (5,))]:
                for za, zb in [(None, None), (codes((), a), codes((), b)), (codes((), a), "columns")]:
                    if isinstance(zb, str):
                        zb = codes((sb[-1],), b) if len(sb) > 1 else None
                    cases.append(case("MatMulInteger", [codes(sa, a), codes(sb, b), za, zb], np.int32, False))
            zeros = codes((3, 1), a)
            cases.append(case("MatMulInteger", [codes((3, 5), a), codes((5, 4), b), zeros], np.int32, False))
            for attributes, sx, sw in [
                ({}, (1, 2, 5, 4), (3, 2, 3, 2)),
                ({"strides": [2, 1], "pads": [1, 0, 2, 1]}, (2, 2, 5, 4), (3, 2, 3, 2)),
                ({"dilations": [2, 2], "pads": [1, 1, 1, 1], "group": 2}, (1, 4, 6, 5), (4, 2, 3, 2)),
                ({"pads": [1, 1, 1, 1], "group": 3}, (1, 3, 4, 4), (3, 1, 3, 3)),
                ({"pads": [1, 2], "strides": [2]}, (2, 3, 7), (2, 3, 3)),
            ]:
                zeros = codes((), b) if len(sw) == 3 else codes((sw[0],), b)
                for zx, zw in [(None, None), (codes((), a), codes((), b)), (codes((), a), zeros)]:
                    if zw is not None and zw.ndim and len(sw) == 3:
                        continue
                    cases.append(case("ConvInteger", [codes(sx, a), codes(sw, b), zx, zw], np.int32, False, **attributes))
                if (a, b) == (I8, U8) or len(sw) == 3:
                    continue  # no such kernel in ONNX Runtime, no such shape in the evaluator
                for each in (False, True):
                    sb = (sw[0],) if each else ()
                    zw = np.full(sb, codes((), b), b)
                    bias = random.integers(-4000, 4000, sw[0]).astype(np.int32) if each else None
                    y_scale = np.asarray(random.uniform(1, 5), np.float32)
                    inputs = [codes(sx, a), scale(), codes((), a), codes(sw, b), scale(sb), zw, y_scale, codes((), a)]
                    cases.append(case("QLinearConv", inputs + ([bias] if each else []), a, True, **attributes))
            if (a, b) == (I8, U8):
                continue
            for sa, sb in [((3, 5), (5, 4)), ((2, 3, 5), (5, 4)), ((2, 3, 5), (2, 5, 4))]:
                inputs = [codes(sa, a), scale(), codes((), a), codes(sb, b), scale(), codes((), b), np.full((), 2.5, np.float32), codes((), a)]
                cases.append(case("QLinearMatMul", inputs, a, True))
            # Scales that are powers of two give ties, and an odd zero point tells the orders apart.
            half, one = np.full((), 0.5, np.float32), np.ones((), np.float32)
            x, w = codes((6, 2), a), np.asarray([[1, 3, 2], [1, 1, 0]], b)
            inputs = [x, half, np.asarray(60, a), w, one, np.asarray(0, b), one, np.asarray(3, a)]
            cases.append(case("QLinearMatMul", inputs, a, True))
    for auto_pad in ["SAME_UPPER", "SAME_LOWER", "VALID"]:
        for attributes, sx, sw in [
            ({}, (1, 2, 5, 4), (3, 2, 2, 3)),
            ({"strides": [2, 3]}, (1, 2, 7, 8), (2, 2, 4, 3)),
            ({"dilations": [2, 1]}, (1, 2, 6, 5), (2, 2, 2, 4)),
            ({"strides": [3, 2]}, (1, 1, 4, 7), (1, 1, 1, 2)),
        ]:
            if "dilations" in attributes and auto_pad != "VALID":
                continue  # ONNX Runtime refuses it
            attributes = {"auto_pad": auto_pad, **attributes}
            inputs = [codes(sx, U8), scale(), codes((), U8), codes(sw, I8), scale(), codes((), I8), np.full((), 2, np.float32), codes((), U8)]
            cases.append(case("QLinearConv", inputs, U8, True, **attributes))
            inputs = [inputs[0], inputs[3], inputs[2]]
            cases.append(case("ConvInteger", inputs, np.int32, True, **attributes))
    head = {"origin": "onnx 1.23.2's reference evaluator and onnxruntime 1.32.0, by onnx_integer_vectors.py"}
    lines = ",\n".join(json.dumps(c, separators=(",", ":")) for c in cases)
    text = json.dumps(head)[:-1] + ',\n"cases": [\n' + lines + "\n]}\n"
    pathlib.Path(__file__).with_suffix(".json").write_text(text)
    for op in sorted({c["op"] for c in cases}):
        mine = [c for c in cases if c["op"] == op]
        print(op, len(mine), "differing:", sum("reference" in c for c in mine))


write()
