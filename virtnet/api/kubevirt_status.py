"""What virtnet reads of what KubeVirt says of its VMIs and their migrations."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from virtnet.api.addresses import seen

Body = Mapping[str, Any]


class InstanceStatus(NamedTuple):
    """Of a VirtualMachineInstance. Fields that are absent are empty."""

    node: str
    phase: str
    paused: bool
    migration_uid: str
    """Of the VirtualMachineInstanceMigration that moves it, or has moved it last."""
    domain_ready: bool
    """Whether the guest's domain is there on the target."""
    failed: bool
    post_copy: bool


def instance_status(vmi: Body) -> InstanceStatus:
    status = vmi.get("status") or {}
    state = status.get("migrationState") or {}
    conditions = status.get("conditions") or ()
    return InstanceStatus(
        node=status.get("nodeName") or "",
        phase=status.get("phase") or "",
        paused=any(one.get("type") == "Paused" and one.get("status") == "True" for one in conditions),
        migration_uid=state.get("migrationUid") or "",
        domain_ready=bool(state.get("targetNodeDomainReadyTimestamp")),
        failed=bool(state.get("failed")),
        post_copy=state.get("mode") == "PostCopy",
    )


def migrated_instance(migration: Body) -> str:
    """The name of the VMI that a VirtualMachineInstanceMigration moves."""
    name: str = migration["spec"]["vmiName"]
    return name


def migration_phase(migration: Body) -> str:
    """Its phase; empty before KubeVirt has looked at it."""
    return (migration.get("status") or {}).get("phase") or ""


def guest_addresses(vmi: Body) -> dict[str, tuple[str, ...]]:
    """Network name -> the addresses that the guest has there, as KubeVirt says: the guest's agent has told it."""
    found = {}
    for one in (vmi.get("status") or {}).get("interfaces") or ():
        told = seen([one.get("ipAddress"), *(one.get("ipAddresses") or ())])
        if told and one.get("name"):
            found[one["name"]] = told
    return found
