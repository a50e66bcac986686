"""Checks what Kustomize built as a whole: `complete.py FILE`. What is named must be there, and fit the image."""

import sys

import ruamel.yaml


def main(path):
    with open(path) as file:
        objects = [each for each in ruamel.yaml.YAML(typ="safe").load_all(file) if each]
    by_kind = {}
    for each in objects:
        by_kind.setdefault(each["kind"], {})[each["metadata"]["name"]] = each
    (stateful,) = by_kind["StatefulSet"].values()
    pod = stateful["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    problems = []

    def must(holds, complaint):
        if not holds:
            problems.append(complaint)

    must(stateful["spec"]["serviceName"] in by_kind["Service"], "the StatefulSet's service is missing")
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod["spec"]["volumes"]}
    claims = {claim["metadata"]["name"] for claim in stateful["spec"]["volumeClaimTemplates"]}
    for name, config_map in volumes.items():
        must(config_map in by_kind["ConfigMap"], f"volume {name} names {config_map}, which nothing makes")
    for mount in container["volumeMounts"]:
        must(mount["name"] in volumes.keys() | claims, f"{mount['mountPath']} mounts what is not there")
    labels = pod["metadata"]["labels"]
    selectors = [("StatefulSet", stateful["spec"]["selector"]["matchLabels"])]
    selectors += [(name, service["spec"]["selector"]) for name, service in by_kind["Service"].items()]
    selectors += [(each["kind"], each["spec"]["selector"]["matchLabels"]) for each in by_kind["PodDisruptionBudget"].values()]
    for name, selector in selectors:
        must(selector.items() <= labels.items(), f"{name} selects {selector}, and pods are labelled {labels}")
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        must(container[probe]["httpGet"]["port"] in ports, f"{probe} asks at a port that is not there")
    (segments,) = (each for name, each in by_kind["ConfigMap"].items() if name.startswith("segue-segments"))
    must(len(segments["data"]) > 5, "the definitions are missing")
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
