"""All that is used of kopf beyond its public interface, for which it has no other way: what it remembers and looks for.

``VERSION`` is the one that these parts are tested with; another one is looked at first.
"""

from typing import Any

import kopf
from kopf._cogs.structs.references import Insights
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from webhooks import paths

VERSION = "1.45"


class NoMemories(ResourceMemories):
    """kopf remembers every object that it was ever asked about, and only its watches let it forget: here are none."""

    async def recall(self, raw_body: Any, **options: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**options, "ephemeral": True})


class ServedResources(set[kopf.Resource]):
    """What kopf takes reviews of: all that we serve, whatever kinds it has found when it started.

    So KubeVirt may be installed after us, and nothing has to be watched: kopf ends the process when the API server
    refuses it a watch, which one that has just started, or has lost its etcd, does.
    """

    def __init__(self) -> None:
        super().__init__(
            kopf.Resource(webhook.group, webhook.version, plural)
            for webhook in paths.ALL.values()
            for plural in webhook.plurals
        )

    def difference_update(self, *found: Any) -> None:
        """Not what kopf has not found."""


def insights() -> Insights:
    """What kopf takes the API server to have, without asking it."""
    return Insights(webhook_resources=ServedResources())
