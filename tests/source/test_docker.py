"""The source docker: the container's id from the path, labels from its driver, and records that cannot say otherwise."""

from __future__ import annotations

import json

import pytest

from shipper.source.docker import Docker
from tests.kit.site import Site, check_whole

ID = "0123456789abcdef" * 4
OTHER = "fedcba9876543210" * 4


@pytest.mark.parametrize("suffix", ["", ".1", ".2.gz"])
def test_path_of_a_container_tells_its_id(suffix: str) -> None:
    """Rotated files too (`--log-opt max-file`)."""
    path = f"/var/lib/docker/containers/{ID}/{ID}-json.log{suffix}"
    assert Docker.describe(path) == {"container.id": ID, "container.runtime": "docker"}


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/var/log/app.log",
            f"/var/lib/docker/containers/{ID}/{OTHER}-json.log",
            f"/var/lib/docker/containers/{ID}-json.log",
        ),
        *(
            f"/var/lib/docker/containers/{ID[:12]}/{ID[:12]}-json.log",
            f"/var/lib/docker/containers/{ID.upper()}/{ID.upper()}-json.log",
        ),
        *(
            f"/x/containers/{ID}/../{ID}-json.log",
            f"/x/containers/{ID}/{ID}\n-json.log",
            f"/x/containers/{ID}{ID}/{ID}{ID}-json.log",
        ),
    ],
)
def test_path_of_another_shape_tells_nothing(path: str) -> None:
    """Rather no id than a wrong one."""
    assert Docker.describe(path) == {}


def container(site: Site) -> str:
    """A pipeline of containers below the site; the name of a log there."""
    (site.logs / "containers" / ID).mkdir(parents=True)
    site.configure(sources=[{"type": "docker", "include": [f"{site.logs}/containers/*/*-json.log"]}])
    return f"containers/{ID}/{ID}-json.log"


def written(*records: object, **attrs: str) -> bytes:
    """Lines of the json-file driver."""
    lines = []
    for record in records:
        line = {"log": json.dumps(record) + "\n", "stream": "stdout", "time": "2026-02-05T14:30:45.123456789Z"}
        lines.append(json.dumps({**line, **({"attrs": attrs} if attrs else {})}).encode() + b"\n")
    return b"".join(lines)


def test_documents_carry_the_id_and_the_labels_of_their_container(site: Site) -> None:
    """Both stand beside each other."""
    name = container(site)
    site.write(written({"n": 1}), name)
    site.write(written({"n": 2}, tier="web"), name)
    check_whole(site.once(), 2)
    first, second = site.bodies()
    for document in (first, second):
        assert (document["container.id"], document["container.runtime"], document["stream"]) == (ID, "docker", "stdout")
    assert "container" not in first and second["container"] == {"labels": {"tier": "web"}}


FORGED: list[dict[str, object]] = [
    {"container.id": OTHER},
    {"container.id": {"a": 1}},
    {"container.runtime": None},
    {"container": {"id": OTHER}},
    {"container": "mine"},
]


@pytest.mark.parametrize("record", FORGED)
def test_no_record_can_say_that_it_is_of_another_container(site: Site, record: dict[str, object]) -> None:
    """What it says moves aside, and is kept."""
    name = container(site)
    site.write(written({**record, "n": 1}), name)
    check_whole(site.once(), 1)
    [document] = site.bodies()
    assert (document["container.id"], document["container.runtime"]) == (ID, "docker")
    assert "container" not in document
