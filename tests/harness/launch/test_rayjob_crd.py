"""A RayJob against KubeRay's own schema, where its file is at hand: MTLBENCH_RAYJOB_CRD names it.

The file is `helm-chart/kuberay-operator/crds/ray.io_rayjobs.yaml` of KubeRay 1.5.1 or newer, which `helm pull` of the
chart kuberay-operator brings. It is a megabyte of another project and not kept here; `test_manifests.py` checks the
fields by hand.
"""

import os
from pathlib import Path

import jsonschema
import pytest
import yaml

from mtlbench.harness.launch.job import Job, Nodes
from mtlbench.harness.launch.kuberay import KubeRay, manifest

FILE = os.environ.get("MTLBENCH_RAYJOB_CRD")

# In the form of a definition of Kubernetes.
SMALL = """
kind: CustomResourceDefinition
spec:
  versions:
  - name: v1alpha1
    schema: {openAPIV3Schema: {type: object}}
  - name: v1
    schema:
      openAPIV3Schema:
        type: object
        properties:
          metadata: {type: object}
          spec:
            type: object
            required: [entrypoint]
            properties:
              entrypoint: {type: string}
              startParams: {type: object, additionalProperties: {type: string}}
              groups:
                type: array
                items: {type: object, properties: {replicas: {type: integer}}}
              limits: {type: object, additionalProperties: {anyOf: [{type: integer}, {type: string}]}}
"""


def closed(schema):
    """A schema that refuses unknown fields, which Kubernetes would drop without a word."""
    if not isinstance(schema, dict):
        return schema
    found = {key: value for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        found["properties"] = {name: closed(each) for name, each in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            found["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if key in schema:
            found[key] = closed(schema[key])
    return found


def validator(definition):
    """Of version v1 of a definition."""
    (schema,) = [each["schema"]["openAPIV3Schema"] for each in definition["spec"]["versions"] if each["name"] == "v1"]
    whole = {**schema, "properties": {"apiVersion": {}, "kind": {}, **schema["properties"]}}
    return jsonschema.Draft4Validator(closed(whole))


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"entrypoint": "x", "startParams": {"a": "0"}, "groups": [{"replicas": 1}], "limits": {"cpu": 1}}, None),
        ({"entrypoint": "x", "groups": [{"replica": 1}]}, ["spec", "groups", 0]),
        ({"entrypoint": "x", "entryPoint": "y"}, ["spec"]),
        ({"entrypoint": "x", "startParams": {"num-cpus": 0}}, ["spec", "startParams", "num-cpus"]),
        ({"entrypoint": "x", "groups": [{"replicas": "1"}]}, ["spec", "groups", 0, "replicas"]),
        ({}, ["spec"]),
    ],
)
def test_a_field_that_the_definition_does_not_know_is_found_where_it_stands(spec, place):
    document = {"apiVersion": "ray.io/v1", "kind": "RayJob", "metadata": {"name": "n"}, "spec": spec}
    errors = list(validator(yaml.safe_load(SMALL)).iter_errors(document))
    assert [list(error.absolute_path) for error in errors] == ([] if place is None else [place])


@pytest.mark.skipif(FILE is None, reason="MTLBENCH_RAYJOB_CRD names no definition of RayJobs")
@pytest.mark.parametrize("options", [{}, {"secret": "tracking", "memory": "64Gi"}])
@pytest.mark.parametrize("gpus", [0, 4])
def test_a_ray_job_is_valid_by_the_definition_of_kuberay(options, gpus):
    job = Job("rooms", "/mnt/mtlbench/runs", Nodes(2, 8, gpus))
    _, ray_job = yaml.safe_load_all(manifest(job, KubeRay("registry/mtlbench:0.1.0", **options)))
    validator(yaml.safe_load(Path(FILE).read_text())).validate(ray_job)
