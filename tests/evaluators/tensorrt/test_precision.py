import dataclasses
import json

import pytest

from evaluators.artefact import untrained_artefact
from evaluators.tensorrt.precision import asked_formats, compare, real_formats
from tests.evaluators.networks import INT8, tiny_candidate
from yolov6space.candidate import Precision

# One layer each as the engine inspectors of TensorRT 10 and 11 print them.
V10 = {
    "Name": "/detector/a/Conv + PWN(/detector/a/act/Relu)",
    "LayerType": "CaskConvolution",
    "Inputs": [{"Name": "x", "Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format"}],
    "Outputs": [{"Name": "y", "Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}],
}
V11 = {
    "Name": "__myl_Conv_myl0_3",
    "LayerType": "conv",
    "Metadata": "[ONNX Layer: /detector/b/Conv]\u001f[ONNX Layer: /detector/b/act/Relu]",
    "Inputs": [{"Name": "x", "DataType": "Half", "Format": "Row major linear FP16 format (kLINEAR)"}],
}


def inspection(*layers):
    return json.dumps({"Layers": list(layers)})


@pytest.mark.parametrize(
    ("layer", "name", "kind"), [(V10, "/detector/a/Conv", "int8"), (V11, "/detector/b/Conv", "fp16")]
)
def test_both_schemas_are_read(layer, name, kind):
    assert real_formats(inspection(layer), {name, "/detector/a/Con", "/a/Conv"}) == {name: kind}


def test_reformatting_and_bare_names_tell_nothing():
    reformat = V10 | {"LayerType": "Reformat", "Name": "Reformatting CopyNode for /detector/a/Conv"}
    assert real_formats(inspection(reformat, "/detector/a/Conv"), {"/detector/a/Conv"}) == {}


def test_a_layer_that_fell_back_is_named():
    asked = {"/detector/a/Conv": "int8", "/detector/b/Conv": "int8", "/detector/c/Conv": "fp16"}
    report = compare(asked, real_formats(inspection(V10, V11), set(asked)))
    assert report.asked == {"fp16": 1, "int8": 2}
    assert report.real == {"fp16": 1, "int8": 1, "unknown": 1}
    assert report.different == ("/detector/b/Conv: int8, fp16",)


@pytest.mark.parametrize(
    ("precision", "counts"),
    [
        (Precision(), {"fp32": 44}),
        (Precision(kind="fp16"), {"fp16": 44}),
        (INT8, {"int8": 44}),
        (dataclasses.replace(INT8, float_layers=6, metric="mse"), {"int8": 38, "fp16": 6}),
    ],
)
def test_what_a_graph_asks_for(tmp_path, precision, counts):
    built = untrained_artefact(
        tiny_candidate(precision), num_classes=2, image_size=64, folder=tmp_path / "a", float_format="fp16"
    )
    asked = asked_formats(built.onnx)
    assert {kind: list(asked.values()).count(kind) for kind in asked.values()} == counts
