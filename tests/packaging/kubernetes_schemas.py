"""Kubernetes' own schemas of the kinds that our manifests use, strict: a key that does not exist is an error.

`kubernetes_schemas.json` is an extract of what the package kubernetes-validate carries (110 MB, all kinds of a dozen versions),
which has them from Kubernetes' OpenAPI document (Apache-2.0); the descriptions were left out. Write it anew, for another version
or a further kind:

    .venv/bin/pip install kubernetes-validate && .venv/bin/python tests/packaging/kubernetes_schemas.py 1.38
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator

EXTRACT = Path(__file__).with_suffix(".json")
KINDS = {
    "apps/v1 Deployment": "io.k8s.api.apps.v1.Deployment",
    "batch/v1 Job": "io.k8s.api.batch.v1.Job",
    "networking.k8s.io/v1 NetworkPolicy": "io.k8s.api.networking.v1.NetworkPolicy",
    "policy/v1 PodDisruptionBudget": "io.k8s.api.policy.v1.PodDisruptionBudget",
    "v1 ConfigMap": "io.k8s.api.core.v1.ConfigMap",
    "v1 Secret": "io.k8s.api.core.v1.Secret",
    "v1 Service": "io.k8s.api.core.v1.Service",
}


def validate(found: dict[str, Any]) -> None:
    """Raises `jsonschema.ValidationError`, and KeyError for a kind whose schema is not here."""
    schema = KINDS[f"{found['apiVersion']} {found['kind']}"]
    Draft7Validator({**json.loads(EXTRACT.read_text()), "$ref": f"#/$defs/{schema}"}).validate(found)


def extract(version: str) -> dict[str, Any]:
    """The schemas of our kinds and of everything that they refer to."""
    import kubernetes_validate

    folder = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    every = json.loads((folder / "_definitions.json").read_text())["$defs"]
    wanted, found = list(KINDS.values()), {}
    while wanted:
        name = wanted.pop()
        if name not in found:
            found[name] = _without_prose(every[name])
            wanted += _named(every[name])
    return {"$comment": f"Kubernetes {version}; see kubernetes_schemas.py", "$defs": found}


def _named(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"].rpartition("/")[2]
        schema = list(schema.values())
    if isinstance(schema, list):
        for part in schema:
            yield from _named(part)


def _without_prose(schema: Any, *, is_names: bool = False) -> Any:
    """`is_names`: keys are names of properties, one of which may be called `description`."""
    if isinstance(schema, list):
        return [_without_prose(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key == "$ref" and not is_names:
            kept[key] = f"#/$defs/{value.rpartition('/')[2]}"
        elif is_names or not (key == "description" or key.startswith("x-kubernetes-")):
            kept[key] = _without_prose(value, is_names=key == "properties" and not is_names)
    return kept


if __name__ == "__main__":
    EXTRACT.write_text(json.dumps(extract(sys.argv[1]), sort_keys=True, separators=(",", ":")) + "\n")
