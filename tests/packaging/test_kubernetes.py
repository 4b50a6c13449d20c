"""The kustomization: kubectl takes it in silence, and what comes out is what was promised: rights, mounts, probes, pipelines."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from shipper import assembly
from shipper.config.find import find
from tests.conftest import NAMESPACES
from tests.edge.test_control import ask
from tests.kit.site import ROOT, Site, Told, check_whole, log_lines, shipper, wait_until
from tests.packaging import image, unit
from tests.packaging.conftest import Installed

PLACE = ROOT / "packaging/kubernetes"
HOST_PATHS_WRITTEN = {"/var/lib/shipper"}
OVERLAY = re.compile(r"^```yaml\n(# file: kustomization\.yaml\n.*?)^```", re.MULTILINE | re.DOTALL)
pytestmark = pytest.mark.needs("kubectl")
Manifest = dict[str, Any]


def kustomize(place: Path) -> dict[str, Manifest]:
    """What kubectl makes of a directory, by kind and name; the hash that it gives to a ConfigMap is left out of the name."""
    done = subprocess.run(["kubectl", "kustomize", place], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    made = list(yaml.safe_load_all(done.stdout))
    return {f"{one['kind']}/{re.sub(r'-[a-z0-9]{10}$', '', one['metadata']['name'])}": one for one in made}


@pytest.fixture(scope="module")
def made() -> dict[str, Manifest]:
    """What would be applied."""
    return kustomize(PLACE)


def pod(made: dict[str, Manifest]) -> Manifest:
    """The pod of the agent."""
    found: Manifest = made["DaemonSet/shipper"]["spec"]["template"]["spec"]
    return found


def container(made: dict[str, Manifest]) -> Manifest:
    """Its only container."""
    [found] = pod(made)["containers"]
    return found


def mounts(made: dict[str, Manifest]) -> dict[str, tuple[Manifest, Manifest]]:
    """By the path in the container: the mount and its volume."""
    volumes = {volume["name"]: volume for volume in pod(made)["volumes"]}
    found = {mount["mountPath"]: (mount, volumes.pop(mount["name"])) for mount in container(made)["volumeMounts"]}
    assert volumes == {}, "a volume that is nowhere mounted"
    return found


def test_kubectl_makes_one_agent_on_each_node_of_it(made: dict[str, Manifest]) -> None:
    """In a namespace of its own, with all that it refers to; all nodes, tainted ones too."""
    namespace = made["Namespace/shipper"]["metadata"]["name"]
    kinds = {"Namespace/shipper", "PriorityClass/shipper", "ServiceAccount/shipper", "DaemonSet/shipper"}
    assert made.keys() == kinds | {"ConfigMap/shipper-agent", "ConfigMap/shipper-pipelines"}
    for name, one in made.items():
        inside = name.partition("/")[0] not in ("Namespace", "PriorityClass")
        assert one["metadata"].get("namespace") == (namespace if inside else None), name
    assert pod(made)["serviceAccountName"] == made["ServiceAccount/shipper"]["metadata"]["name"]
    assert pod(made)["priorityClassName"] == made["PriorityClass/shipper"]["metadata"]["name"]
    assert pod(made)["tolerations"] == [{"operator": "Exists"}]
    labels = made["DaemonSet/shipper"]["spec"]["template"]["metadata"]["labels"]
    assert made["DaemonSet/shipper"]["spec"]["selector"]["matchLabels"].items() <= labels.items()


def test_a_change_of_configuration_is_a_new_pod(made: dict[str, Manifest]) -> None:
    """The pod names the ConfigMaps with the hash of their content."""
    for path, name in (("/etc/shipper/shipper.yaml", "shipper-agent"), ("/etc/shipper/pipelines", "shipper-pipelines")):
        mount, volume = mounts(made)[path]
        assert volume["configMap"]["name"] == made[f"ConfigMap/{name}"]["metadata"]["name"] != name
        assert mount.get("subPath", "shipper.yaml") in {*made[f"ConfigMap/{name}"]["data"], "shipper.yaml"}


def test_the_agent_has_one_capability_and_no_way_to_more(made: dict[str, Manifest]) -> None:
    """Root's files are read by it; it may write its state, and talks to no API."""
    security = container(made)["securityContext"]
    assert security["capabilities"] == {"drop": ["ALL"], "add": ["DAC_READ_SEARCH"]}
    assert (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]) == (False, True)
    assert "privileged" not in security
    assert pod(made)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod(made).keys()
    assert pod(made)["automountServiceAccountToken"] is made["ServiceAccount/shipper"]["automountServiceAccountToken"] is False


def test_what_is_of_the_node_is_read_only_but_for_the_state(made: dict[str, Manifest]) -> None:
    """At the same paths as on the node, as links lead from one to the other. The state outlives the pod there."""
    of_the_node = {path: (mount, volume["hostPath"]) for path, (mount, volume) in mounts(made).items() if "hostPath" in volume}
    assert {path for path, (_, host) in of_the_node.items() if host["path"] != path} == set()
    assert {path for path, (mount, _) in of_the_node.items() if not mount.get("readOnly")} == HOST_PATHS_WRITTEN
    [state] = HOST_PATHS_WRITTEN
    assert dict(pair.split("=", 1) for pair in image.stages()[1].one("ENV").words)["SHIPPER_STATE"] == state


def test_what_the_sources_of_pods_and_of_docker_read_is_mounted(made: dict[str, Manifest]) -> None:
    """By their own defaults, and the machine's id, without which each new pod would be another machine."""
    defaults = [pattern for kind in ("kubernetes", "docker") for pattern in find("source", kind).Config().include]
    assert len(defaults) >= 2
    for wanted in [*defaults, "/var/log/containers", "/etc/machine-id"]:
        assert any(Path(path) in (Path(wanted), *Path(wanted).parents) for path in mounts(made)), wanted


def test_the_pod_runs_what_the_image_runs_of_this_version(made: dict[str, Manifest]) -> None:
    """The image's own command, and the directories it reads."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    final = image.stages()[1]
    assert container(made)["image"] == f"shipper:{version}"
    assert f"-t shipper:{version} ." in image.FILE.read_text()
    assert ("command" in container(made), container(made)["args"]) == (False, final.one("CMD").words)
    assert {"/etc/shipper/shipper.yaml", "/etc/shipper/pipelines"} <= mounts(made).keys()


def test_the_pipelines_of_the_config_map_are_the_ready_ones_and_are_accepted(made: dict[str, Manifest], site: Site) -> None:
    """kustomize reads no file above its own directory, so it has a copy; `make kubernetes` brings it up to date."""
    data = made["ConfigMap/shipper-pipelines"]["data"]
    assert data == {name: (ROOT / "pipelines" / name).read_text() for name in data} != {}
    assert sorted(data) == sorted(path.name for path in (PLACE / "pipelines").iterdir())
    for name, text in {
        **{f"pipelines/{name}": text for name, text in data.items()},
        **made["ConfigMap/shipper-agent"]["data"],
    }.items():
        (site.folder / name).parent.mkdir(exist_ok=True)
        (site.folder / name).write_text(text)
    site.pipeline.unlink()
    told = shipper("check", "--agent", site.folder / "shipper.yaml", site.folder)
    assert (told.code, told.err) == (0, "")


def test_probes_ask_for_pages_that_a_real_agent_has(made: dict[str, Manifest], site: Site) -> None:
    """At the port that its settings open, on all addresses of the pod."""
    [port] = container(made)["ports"]
    (site.folder / "shipper.yaml").write_text(made["ConfigMap/shipper-agent"]["data"]["shipper.yaml"])
    settings = assembly.read_agent(str(site.folder / "shipper.yaml"), {})
    assert settings.control is not None
    assert (settings.control.host, settings.control.port) == ("0.0.0.0", port["containerPort"])
    annotations = made["DaemonSet/shipper"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(port["containerPort"])
    pages = {name: container(made)[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    assert {page["port"] for page in pages.values()} == {port["name"]}
    (site.folder / "shipper.yaml").write_text("control: 127.0.0.1:0\n")
    agent = site.start("run", "--state", site.state, "--agent", site.folder / "shipper.yaml", site.pipeline)
    assert agent.stderr is not None
    [line] = log_lines(agent.stderr.readline().decode())
    wait_until(lambda: ask(line["address"], pages["startup"]["path"])[0] == 200, "the agent to be ready")
    answers = {
        path: ask(line["address"], path)
        for path in (*(page["path"] for page in pages.values()), annotations["prometheus.io/path"])
    }
    assert {path: answer[0] for path, answer in answers.items() if answer[0] != 200} == {}
    assert json.loads(answers[pages["liveness"]["path"]][2])["status"] == "alive"
    assert json.loads(answers[pages["readiness"]["path"]][2])["status"] == "ready"


@pytest.mark.needs(NAMESPACES, "setpriv")
def test_the_agent_works_with_the_rights_of_the_pod(made: dict[str, Manifest], installed: Installed, site: Site) -> None:
    """Root's user with one capability: it reads what belongs to others, and writes into a directory of root's, and nowhere else."""
    security = container(made)["securityContext"]
    site.write([{"timestamp": "2026-02-05T14:30:45Z", "n": 1}] * 3)
    for path, mode in ((site.logs / "app.log", 0o600), (site.logs, 0o700)):
        path.chmod(mode)
        os.chown(path, unit.USER, unit.USER)
    site.configure(output={"type": "local", "directory": str(site.state / "out")})
    capabilities = [name.lower() for name in security["capabilities"]["add"]]
    words = [
        *unit.stripped(security["runAsUser"], capabilities, site.state, site.folder),
        installed.bin / "shipper",
        *site.words(),
    ]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, env=image.CLEAN)
    check_whole(Told(done.returncode, done.stdout, done.stderr), 3)


def test_the_agent_has_the_time_that_a_stop_takes(made: dict[str, Manifest]) -> None:
    """More than it waits for what is in flight, or the kubelet would kill it in the middle."""
    from shipper.flow import GRACE_S

    assert pod(made)["terminationGracePeriodSeconds"] > 2 * GRACE_S


def test_the_overlay_of_the_manual_works(tmp_path: Path) -> None:
    """An image of one's own, and one's own pipelines instead of ours."""
    [text] = OVERLAY.findall((ROOT / "docs/running.md").read_text())
    version = json.loads(subprocess.check_output(["kubectl", "version", "--client", "-o", "json"], stderr=subprocess.DEVNULL))
    if int(re.sub(r"\D", "", version["clientVersion"]["minor"])) < 21:
        text = text.replace("resources:", "bases:")
    shutil.copytree(PLACE, tmp_path / "shipper/packaging/kubernetes")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/kustomization.yaml").write_text(text)
    for name in re.findall(r"- (\S+\.yaml)$", text, re.MULTILINE):
        (tmp_path / "mine" / name).write_text(f"name: {Path(name).stem}\n")
    made = kustomize(tmp_path / "mine")
    assert made["ConfigMap/shipper-pipelines"]["data"] == {"shop.yaml": "name: shop\n"}
    assert container(made)["image"].startswith("registry.example/")
    test_a_change_of_configuration_is_a_new_pod(made)
