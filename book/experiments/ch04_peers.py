"""Chapter 4: what NumPy, ONNX Runtime and ONNX's reference answer to the chapter's questions.

    pip install numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0
    python book/experiments/ch04_peers.py

Prints three tables and writes them to book/evidence/. They name the versions; no test compares them.
"""

import json
import pathlib
import platform
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

BOOK = pathlib.Path(__file__).parent.parent
TYPES = {
    (-128, 127): TensorProto.INT8, (0, 255): TensorProto.UINT8, (-8, 7): TensorProto.INT4,
    (0, 15): TensorProto.UINT4, (-32768, 32767): TensorProto.INT16, (0, 65535): TensorProto.UINT16,
}
PROGRAMS = {f"ONNX Runtime {onnxruntime.__version__}": "runtime", f"onnx.reference {onnx.__version__}": "reference"}
NUMPY = f"NumPy {np.__version__}"
NOTE = f"Measured with {NUMPY}, {', '.join(PROGRAMS)} and Python {platform.python_version()} on"


def lecture(values, dtype, low, high):
    """The lecture's three functions, line for line: zero point, codes, restored values, warnings."""
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        data = np.array(values, dtype)
        scale = (np.max(data) - np.min(data)) / (high - low)
        zero_point = np.round(low - np.min(data) / scale)
        codes = np.clip(np.round(data / scale + zero_point), low, high).astype(np.int8)
        restored = (codes - zero_point) * scale
    said = dict.fromkeys(str(warning.message).split(" encountered")[0] for warning in seen)
    return zero_point + 0.0, codes, restored, ", ".join(said) or "nothing"


def run(program, nodes, x, outputs, initializers=()):
    """The outputs of a graph with one input, x."""
    value = lambda name, kind: helper.make_tensor_value_info(name, kind, None)
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [len(x)])],
        [value(name, kind) for name, kind in outputs], list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    if program == "reference":
        session = ReferenceEvaluator(model)
    else:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.array(x, np.float32)})


def quantize(program, kind, scale, zero_point, x):
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("Cast", ["q"], ["y"], to=TensorProto.INT32),
    ]
    pair = [
        helper.make_tensor("s", TensorProto.FLOAT, [], [scale]),
        helper.make_tensor("z", kind, [], [zero_point]),
    ]
    return run(program, nodes, x, [("y", TensorProto.INT32)], pair)[0].tolist()


def dynamic(program, x):
    node = helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    kinds = [("y", TensorProto.UINT8), ("s", TensorProto.FLOAT), ("z", TensorProto.UINT8)]
    return run(program, [node], x, kinds)


def words(values):
    text = ", ".join(f"{v:.4g}" for v in np.atleast_1d(values).astype(float))
    return text.replace("-", "−").replace("nan", "NaN").replace("inf", "∞")


FIVE = [-1.0, -0.5, 0.0, 0.5, 1.0]


def five():
    """The lecture's five numbers in f64 and in f32."""
    rows = ["| the five numbers, by | of | zero point | codes |", "|:--|:--|--:|:--|"]
    for dtype in (np.float64, np.float32):
        zero_point, codes, _, _ = lecture(FIVE, dtype, -128, 127)
        rows.append(f"| the lecture's functions, `{dtype.__name__}` | {NUMPY} | {words(zero_point)} | {words(codes)} |")
    for name, program in PROGRAMS.items():
        codes, _, zero_point = dynamic(program, FIVE)
        rows.append(f"| DynamicQuantizeLinear | {name} | {zero_point} | {words(codes)} |")
    return rows


def edges():
    """Inputs on which the lecture's functions fail."""
    rows = ["| values, codes | zero point | after `astype(int8)` | come back as | NumPy warns of |", "|:--|--:|:--|:--|:--|"]
    for values, low, high in [(FIVE, 0, 255), ([3.0] * 3, -128, 127), ([0.0] * 3, -128, 127), ([1.0, 2, 3, 4, 5, 6], -128, 127)]:
        zero_point, codes, restored, said = lecture(values, np.float64, low, high)
        name = f"{words(values)}, [{words(low)}, {high}]"
        rows.append(f"| {name} | {words(zero_point)} | {words(codes)} | {words(restored)} | {said} |")
    return rows


def golden():
    """How many of the golden vectors each program answers as the file says."""
    vectors = json.loads((BOOK / "data/golden/quantizer.json").read_text())
    rows = ["| questions | to | right | other answers |", "|:--|:--|--:|:--|"]
    for name, program in PROGRAMS.items():
        asked = [v for v in vectors if v["ask"] == "quantize" and (v["qmin"], v["qmax"]) in TYPES]
        wrong = []
        for v in asked:
            kind = TYPES[v["qmin"], v["qmax"]]
            if quantize(program, kind, v["scale"], v["zero_point"], v["x"]) != v["codes"]:
                wrong.append(v["name"].split(",")[0])
        rows.append(row("to quantize", name, asked, wrong))
        asked = [v for v in vectors if v["ask"] == "choose" and (v["qmin"], v["qmax"]) == (0, 255)]
        wrong = []
        for v in asked:
            _, scale, zero_point = dynamic(program, v["x"])
            if scale != np.float32(v["scale"]) or int(zero_point) != v["zero_point"]:
                wrong.append(v["name"].split(", ")[-1] + f" (scale {scale:.3g}, zero point {zero_point})")
        rows.append(row("to choose", name, asked, wrong))
        answer = quantize(program, TensorProto.INT8, 0.25, 0, [3e9])
        rows.append(f"| 3 · 10⁹ at a scale of 0.25, in int8 | {name} | | {words(answer)} |")
    return rows


def row(kind, name, asked, wrong):
    families = ", ".join(f"{w}: {wrong.count(w)}" if wrong.count(w) > 1 else w for w in dict.fromkeys(wrong))
    return f"| {kind} | {name} | {len(asked) - len(wrong)} of {len(asked)} | {families or '–'} |"


def write(name, rows):
    text = "\n".join([*rows, "", f"{NOTE} {platform.machine()}.", ""])
    print(text)
    (BOOK / "evidence" / name).write_text(text)


warnings.simplefilter("ignore")
write("ch04_peers_five.md", five())
write("ch04_peers_edges.md", edges())
write("ch04_peers_golden.md", golden())
