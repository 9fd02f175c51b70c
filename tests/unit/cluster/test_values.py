"""Values on their way through Kubeflow Pipelines and back."""

import json

from google.protobuf import json_format, struct_pb2
from kfp.compiler.pipeline_spec_builder import to_protobuf_value
from kfp.local.executor_output_utils import pb2_value_to_python

from galmorph import params as p
from galmorph.cluster.values import NULL, carried, meant


def travelled(values):
    """What a component gets of values: they are a protocol buffer, then JSON."""
    value = pb2_value_to_python(to_protobuf_value(carried(values)))
    struct = struct_pb2.Struct()
    struct.update(value)
    return json.loads(json_format.MessageToJson(struct))


def test_every_value_arrives_as_it_was(values, params):
    """Numbers are floating point on the way, and keys are text: the models undo both."""
    arrived = meant(travelled(values))
    assert isinstance(arrived["train"]["batch_size"], float)
    assert p.check(arrived, "arrived") == params


def test_experiments_with_overrides_arrive(values):
    arrived = meant(travelled(values))
    for name, row in values["experiments"].items():
        both = []
        for given in (values, arrived):
            stage = {"preprocess": given["preprocess"], "train": given["train"]}
            both.append(p.checked(p.TrainStageParams, {**stage, "experiment": given["experiments"][name]}, name))
        assert both[0] == both[1]
        assert both[0].model_dump(mode="json") == both[1].model_dump(mode="json"), row


def test_null_is_given_in_either_way():
    assert meant({"a": NULL, "b": {"c": None}, "d": [NULL, 1]}) == {"a": None, "b": {"c": None}, "d": [None, 1]}


def test_no_value_is_the_word_that_means_nothing(values):
    assert f'"{NULL}"' not in json.dumps(values)
