"""Two that set up one machine at once: each program is built once, and neither finds half of the other's work."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from virtnet.lab.image import debian_kernel

pytestmark = pytest.mark.system

COMPILER = """#!/bin/sh
case "$*" in
*GOVERSION*) echo go1.26.0 ;;
*GOTOOLCHAIN*) echo auto ;;
*)
  echo "$*" >>"$BUILDS"
  while [ $# -gt 0 ]; do [ "$1" != -o ] || output=$2; shift; done
  sleep 1
  echo '#!/bin/sh' >"$output" ;;
esac
"""
"""Takes a moment, in which another one may begin."""


def test_two_at_once_build_each_program_once(tmp_path: Path) -> None:
    kernel, cache, programs = debian_kernel().directory, tmp_path / "cache", tmp_path / "bin"
    for directory in (cache, programs):
        directory.mkdir()
    (cache / kernel.name).symlink_to(kernel)
    (cache / "hardware/linux-0").mkdir(parents=True)
    (cache / "hardware/linux-0/vmlinuz").touch()
    (programs / "go").write_text(COMPILER)
    (programs / "go").chmod(0o755)
    given = {**os.environ, "VIRTNET_CACHE": str(cache), "BUILDS": str(tmp_path / "builds")}
    given["PATH"] = f"{programs}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
    given.pop("KUBEBUILDER_ASSETS", None)
    both = [subprocess.Popen([REPOSITORY / ".ci/setup"], env=given) for _ in range(2)]
    assert [one.wait(timeout=120) for one in both] == [0, 0]
    built = [line.rsplit("/", 1)[1] for line in (tmp_path / "builds").read_text().splitlines()]
    assert sorted(built) == ["kube-apiserver", "kubectl"]
