"""What can go wrong with a lab and has a message for a person."""

from virtnet.kube.errors import ApiError
from virtnet.lab.binaries import MissingProgram
from virtnet.lab.daemon import DaemonError
from virtnet.lab.dpdk import NoDpdk
from virtnet.lab.hugepages import NoHugePages
from virtnet.lab.identities import NoToken
from virtnet.lab.image import ImageError
from virtnet.lab.lab import LabError
from virtnet.lab.migrate import MigrationFailed
from virtnet.lab.names import InvalidName
from virtnet.lab.netns import NetnsError

EXPECTED = (
    ApiError,
    DaemonError,
    ImageError,
    InvalidName,
    LabError,
    MigrationFailed,
    MissingProgram,
    NetnsError,
    NoDpdk,
    NoHugePages,
    NoToken,
)
