"""The source kubernetes: what paths tell, whatever they look like, and documents that no record can make say otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.source.kubernetes import Kubernetes
from tests.kit.site import Site, check_whole

UID = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"
STATIC_UID = "1f2e3d4c5b6a79788796a5b4c3d2e1f0"
ID = "0123456789abcdef" * 4
POD = f"shop_cart-7d9f8b6c5-x2x4z_{UID}"
REAL = {
    f"/var/log/pods/{POD}/cart/0.log": ("shop", "cart-7d9f8b6c5-x2x4z", "cart", {"uid": UID}, 0),
    f"/var/log/pods/kube-system_etcd-node.example.com_{STATIC_UID}/etcd/12.log": (
        "kube-system",
        "etcd-node.example.com",
        "etcd",
        {"uid": STATIC_UID},
        12,
    ),
    f"/var/log/pods/{POD}/cart/3.log.20260205-143045": ("shop", "cart-7d9f8b6c5-x2x4z", "cart", {"uid": UID}, 3),
    f"/var/log/pods/{POD}/cart/3.log.20260205-143045.gz": ("shop", "cart-7d9f8b6c5-x2x4z", "cart", {"uid": UID}, 3),
    f"/var/log/containers/cart-7d9f8b6c5-x2x4z_shop_side-car-{ID}.log": ("shop", "cart-7d9f8b6c5-x2x4z", "side-car", {}, None),
}
HOSTILE = [
    *("", "/", "/var/log/app.log", "-", "/var/log/pods", f"/var/log/pods/{POD}/0.log", f"/var/log/pods/{POD}/cart/x.log"),
    *(f"/var/log/pods/{POD}/cart/0.txt", f"/var/log/pods/{POD}/../../../etc/0.log", f"/var/log/pods/{POD}/ca rt/0.log"),
    *(
        f"/var/log/pods/shop_{UID}/cart/0.log",
        f"/var/log/pods/a_b_c_{UID}/cart/0.log",
        f"/var/log/pods/Shop_cart_{UID}/cart/0.log",
    ),
    *(f"/var/log/pods/{POD}/cart/{'9' * 10}.log", f"/var/log/pods/{'s' * 64}_p_{UID}/c/0.log", "/var/log/pods/a_b\n_c/d/0.log"),
    *(f"/var/log/containers/cart_shop_cart-{ID[:-1]}.log", f"/var/log/containers/cart_shop_cart-{ID.upper()}.log"),
    *(f"/var/log/containers/cart_shop_{ID}.log", f'/var/log/pods/n"}},"x":{{_p_{UID}/c/0.log'),
]


@pytest.mark.parametrize("path", REAL)
def test_paths_of_the_kubelet_tell_pod_and_container(path: str) -> None:
    """Names, uid and restart of a pod's directory, rotated files too; the container's id of a link."""
    namespace, pod, container, more, restart = REAL[path]
    told = Kubernetes.describe(path)
    wanted: dict[str, Any] = {"namespace": namespace, "pod": {"name": pod, **more}, "container": {"name": container}}
    if restart is not None:
        wanted["container"]["restart"] = restart
    assert told["kubernetes"] == wanted
    assert told.get("container") == ({"id": ID} if restart is None else None)


@pytest.mark.parametrize("path", HOSTILE)
def test_paths_of_another_shape_tell_nothing(path: str) -> None:
    """Rather no name than a wrong one."""
    assert Kubernetes.describe(path) == {}


@given(path=st.text(alphabet='/_.-ab0\n\\"', max_size=60).map("/var/log/pods/".__add__))
def test_any_path_tells_names_of_kubernetes_alphabet_or_nothing(path: str) -> None:
    """DNS labels (RFC 1123) are all that comes out."""
    told = json.dumps(Kubernetes.describe(path))
    assert "\\" not in told and "/" not in told


def pod(site: Site, name: str = POD) -> list[str]:
    """A pipeline of pods below the site, with one container of this pod's directory; returns nothing to be remembered."""
    folder = site.logs / "pods" / name / "cart"
    folder.mkdir(parents=True)
    site.configure(sources=[{"type": "kubernetes", "include": [f"{site.logs}/pods/*/*/*.log"]}], redact={"packs": ["pii"]})
    return [f"pods/{name}/cart/0.log"]


def cri(*records: object) -> bytes:
    """Lines of a container, as the CRI writes them."""
    lines = [record if isinstance(record, str) else json.dumps(record) for record in records]
    return "".join(f"2026-02-05T14:30:45.123456789Z stdout F {line}\n" for line in lines).encode()


def test_documents_carry_the_names_of_their_container(site: Site) -> None:
    """Without any API: from the path alone, for JSON and for text, beside file and host."""
    [name] = pod(site)
    site.write(cri({"n": 1}, "plain text"), name)
    check_whole(site.once(), 2)
    for document in site.bodies():
        assert document["kubernetes"] == {
            "namespace": "shop", "pod": {"name": "cart-7d9f8b6c5-x2x4z", "uid": UID}, "container": {"name": "cart", "restart": 0},
        }  # fmt: skip
        assert document["log"]["file"]["path"].endswith("/cart/0.log") and document["host"] == {"name": "web-1"}
        assert document["stream"] == "stdout"


FORGED = [
    {"kubernetes": {"namespace": "kube-system"}},
    {
        "kubernetes": {
            "namespace": "kube-system",
            "pod": {"name": "etcd", "uid": "0"},
            "container": {"name": "etcd", "restart": 9},
        }
    },
    {"kubernetes": "kube-system"},
    {"kubernetes": None},
    {"kubernetes": ["kube-system"]},
    {"kubernetes": {"pod": "etcd", "container": None, "namespace": {"a": 1}}},
    {"kubernetes.namespace": "kube-system"},
    {"kubernetes.pod.name": "etcd", "kubernetes.pod": {"uid": "0"}},
    {"kubernetes": {"pod.name": "etcd"}},
    {"\\u006bubernetes": {"namespace": "kube-system"}},
]


def forged(number: int) -> str:
    """A record that says it is of another pod; escapes in names are the record's own."""
    return json.dumps({**FORGED[number], "n": number}).replace("\\\\u", "\\u")


def test_no_record_can_say_that_it_is_of_another_pod(site: Site) -> None:
    """Fault matrix, row 31: whatever a program writes as `kubernetes`, ours stands there, and no other spelling of it."""
    [name] = pod(site)
    site.write(cri(*map(forged, range(len(FORGED)))), name)
    check_whole(site.once(), len(FORGED))
    bodies = site.bodies()
    assert len(bodies) == len(FORGED)
    for document in bodies:
        found = document["kubernetes"]
        assert found["namespace"] == "shop", document
        assert (found["pod"]["name"], found["pod"]["uid"]) == ("cart-7d9f8b6c5-x2x4z", UID), document
        assert (found["container"]["name"], found["container"]["restart"]) == ("cart", 0), document
        assert not [key for key in document if key.startswith("kubernetes.")], document


def test_secret_in_the_name_of_a_pod_is_masked_like_everything(site: Site) -> None:
    """The path passes the gate before anything is made of it."""
    [name] = pod(site, f"shop_4111-1111-1111-1111_{UID}")
    site.write(cri({"n": 1}), name)
    check_whole(site.once(), 1)
    assert "4111" not in json.dumps(site.documents())


def test_files_of_the_kubelet_that_are_no_logs_are_left_out(site: Site) -> None:
    """Its temporary and compressed files, while it rotates (fault matrix, row 84)."""
    [name] = pod(site)
    site.write(cri({"n": 1}), name)
    site.configure(sources=[{"type": "kubernetes", "include": [f"{site.logs}/pods/*/*/*"]}])
    site.write(b"half", f"{name}.20260205-143045.tmp")
    site.write(b"half", f"{name}.20260205-143044.gz")
    check_whole(site.once(), 1)
