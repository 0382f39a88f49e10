"""What can go wrong with a lab and has a message for a person."""

from virtnet.kube.errors import ApiError
from virtnet.lab.binaries import Missing
from virtnet.lab.daemon import DaemonError
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
    Missing,
    NetnsError,
    NoToken,
)
