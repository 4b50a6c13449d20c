"""The source `kubernetes`: the logs of all containers of a node, with what their paths tell.

The kubelet lays them out as `/var/log/pods/<namespace>_<pod>_<uid>/<container>/<restart>.log`, and links to them as
`/var/log/containers/<pod>_<namespace>_<container>-<container id>.log` (kubernetes/kubernetes, pkg/kubelet/kuberuntime: names).
Links are followed to the file, so that a container's log is read once however it was found, and goes on over a rotation.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from msgspec import field

from shipper.config.fields import FilePath, FilePattern
from shipper.source.file import File

if TYPE_CHECKING:
    from collections.abc import Mapping

_POD = re.compile(r"/pods/([a-z0-9-]{1,63})_([a-z0-9.-]{1,253})_([0-9a-f-]{1,64})/([a-z0-9-]{1,63})/(\d{1,9})\.log")
_LINK = re.compile(r"/containers/([a-z0-9.-]{1,253})_([a-z0-9-]{1,63})_([a-z0-9-]{1,63})-([0-9a-f]{64})\.log")


class Kubernetes:
    """Follow the logs of all pods of this node, and say which pod and container it was.

    Documents get `kubernetes.namespace`, `kubernetes.pod.name`, `kubernetes.pod.uid`, `kubernetes.container.name`,
    `kubernetes.container.restart` (or `container.id`, by the links in `/var/log/containers`), from the path alone. It is the
    source `file` with other defaults.
    """

    inlet = "file"
    frame = "cri"
    """The frame where the pipeline names none."""
    adds = ("kubernetes", "container")

    class Config(File.Config):
        """Settings of the source kubernetes: those of `file`."""

        include: list[FilePath] = field(default_factory=lambda: [FilePath("/var/log/pods/*/*/*.log")])
        """Globs of the files to follow."""
        exclude: list[FilePath] = field(default_factory=lambda: [FilePattern("*.tmp"), FilePattern("*.gz")])
        """Globs of files to leave out; the kubelet's own temporary and compressed files by default."""

    @staticmethod
    def describe(path: str) -> Mapping[str, Any]:
        """What the path of a log tells."""
        if found := _POD.search(path):
            namespace, pod, uid, container, restart = found.groups()
            names = {"pod": {"name": pod, "uid": uid}, "container": {"name": container, "restart": int(restart)}}
            return {"kubernetes": {"namespace": namespace, **names}}
        if found := _LINK.search(path):
            pod, namespace, container, identity = found.groups()
            names = {"pod": {"name": pod}, "container": {"name": container}}
            return {"kubernetes": {"namespace": namespace, **names}, "container": {"id": identity}}
        return {}
