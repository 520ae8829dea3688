"""Write prometheus-operator/prometheusrule.yaml: the rules of grafana/alerts, as prometheus-operator wants them. `make rules`.

One object with all groups, in the order of the files' names. Why a rule is as it is stands beside it in grafana/alerts; comments
do not come along. A test compares what is committed with what this writes.
"""

from pathlib import Path
from typing import Any, Final

import yaml

HERE: Final = Path(__file__).resolve().parent
SOURCES: Final = HERE.parents[1] / "grafana" / "alerts"
TARGET: Final = HERE / "prometheus-operator" / "prometheusrule.yaml"
HEAD: Final = "# Written by docker/kubernetes/rules.py from grafana/alerts: change the rules there, then `make rules`.\n"


def main() -> None:
    TARGET.write_text(written())


def written() -> str:
    """The file's text."""
    groups = [group for path in sorted(SOURCES.glob("*.yaml")) for group in yaml.safe_load(path.read_text())["groups"]]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "gateway", "labels": {"app.kubernetes.io/name": "gateway"}},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.dump(rule, Dumper=_Dumper, sort_keys=False, width=130, allow_unicode=True)


class _Dumper(yaml.SafeDumper):
    """Expressions of several lines stay such."""


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)

if __name__ == "__main__":
    main()
