"""Everything of a lab that is on no node: the control plane, OVN's databases, the product's controller and webhook."""

import contextlib
import socket
import sys
from dataclasses import dataclass
from functools import cached_property

from virtnet.lab import netns
from virtnet.lab.certificates import Authority
from virtnet.lab.control_plane import ControlPlane, Identity
from virtnet.lab.daemon import ELSEWHERE, Daemon
from virtnet.lab.databases import wait
from virtnet.lab.names import (
    API_PORT,
    CENTRAL_ADDRESS,
    MANAGEMENT_PREFIX,
    NORTHBOUND_PORT,
    SOUTHBOUND_PORT,
    UNRESTRICTED_SOUTHBOUND_PORT,
    WEBHOOK_PORT,
    LabNames,
)
from virtnet.lab.nodes import MANAGEMENT_BRIDGE, PHYSICAL_BRIDGE
from virtnet.lab.ovn_central import OvnCentral

STANDIN = Identity("standin", user="virtnet-lab-standin", uid="standin", token="standin", groups=("system:masters",))  # noqa: S106 - known in the lab alone
"""Plays kubelets, the scheduler and all of KubeVirt, so it may what they may together."""


@dataclass(frozen=True)
class Central:
    """Starting it takes steps in order; each raises DaemonError or NetnsError."""

    names: LabNames

    @property
    def netns(self) -> str:
        return self.names.central

    @property
    def prefix(self) -> tuple[str, ...]:
        return netns.plain_prefix(self.netns)

    @cached_property
    def control_plane(self) -> ControlPlane:
        return ControlPlane(
            state=self.names.control_plane,
            address=CENTRAL_ADDRESS,
            port=API_PORT,
            prefix=self.prefix,
            identities=(STANDIN,),
            audited=True,
            nice=ELSEWHERE,
        )

    @cached_property
    def ovn(self) -> OvnCentral:
        state, prefix = self.names.central_state, self.prefix
        if self.names.tls:
            listen = {
                "nb": f"pssl:{NORTHBOUND_PORT}:{CENTRAL_ADDRESS}",
                "sb": f"pssl:{UNRESTRICTED_SOUTHBOUND_PORT}:{CENTRAL_ADDRESS}",
            }
            chassis = f"pssl:{SOUTHBOUND_PORT}:{CENTRAL_ADDRESS}"
            authority = Authority(self.names.ovn_pki)
            return OvnCentral(
                state, prefix, listen, nice=ELSEWHERE, authority=authority, controllers_listen=chassis
            )  # fmt: skip
        listen = {
            "nb": f"ptcp:{NORTHBOUND_PORT}:{CENTRAL_ADDRESS}",
            "sb": f"ptcp:{SOUTHBOUND_PORT}:{CENTRAL_ADDRESS}",
        }
        return OvnCentral(state, prefix, listen, nice=ELSEWHERE)

    @cached_property
    def daemons(self) -> dict[str, Daemon]:
        """By their names, in the order in which they start."""
        return {
            "etcd": self.control_plane.etcd,
            "apiserver": self.control_plane.apiserver,
            **self.ovn.daemons,
            "webhook": self.webhook(),
            "controller": self.controller(),
            "standin": self._standin,
        }

    def wire(self) -> None:
        """The namespace, with the bridge of the management network and that of the physical one."""
        netns.create(self.netns)
        netns.ip(
            self.netns,
            *(
                line
                for bridge in (MANAGEMENT_BRIDGE, PHYSICAL_BRIDGE)
                for line in (f"link add {bridge} type bridge", f"link set {bridge} up")
            ),
            f"address add {CENTRAL_ADDRESS}/{MANAGEMENT_PREFIX} dev {MANAGEMENT_BRIDGE}",
        )

    def start_webhook(self) -> None:
        webhook = self.daemons["webhook"]
        webhook.start()
        wait(webhook, lambda: self._listens(WEBHOOK_PORT), "it serves admission", seconds=60)

    def start_standin(self) -> None:
        """Once the lab's record is written: it is what the stand-in reads."""
        standin = self.daemons["standin"]
        standin.start()
        wait(standin, lambda: "stand-in is ready" in standin.log.read_text(errors="replace"), "it is ready", seconds=60)

    def webhook(self, name: str = "webhook", port: int = WEBHOOK_PORT) -> Daemon:
        """The admission service, or a further replica of it under another name and port."""
        served = self.control_plane.authority.server("webhook", (CENTRAL_ADDRESS,))
        return self._product(
            name,
            "webhook",
            *("--port", str(port), "--cert", str(served.certificate), "--key", str(served.key)),
            *("--client-ca", str(self.control_plane.authority.root.certificate)),
            *("--metrics-port", "0"),
            identity="virtnet-webhook",
        )

    def controller(self, name: str = "controller", *flags: str) -> Daemon:
        """The controller, or a further replica of it under another name, which needs flags of its own."""
        return self._product(
            name,
            "controller",
            *("--northbound", self.names.northbound, "--southbound", self.names.southbound),
            *(self.ovn_certificates("virtnet-controller") if self.names.tls else ()),
            *flags,
            identity="virtnet-controller",
        )

    def ovn_certificates(self, name: str) -> tuple[str, ...]:
        """Flags of the product's processes where OVN speaks TLS: the files of somebody whom its servers let in."""
        authority = Authority(self.names.ovn_pki)
        own = authority.client(name)
        return (
            f"--ovn-private-key={own.key}",
            f"--ovn-certificate={own.certificate}",
            f"--ovn-ca-cert={authority.root.certificate}",
        )

    @cached_property
    def _standin(self) -> Daemon:
        words = ("-m", "virtnet.lab.standin", "--lab", self.names.name, "--state", str(self.names.state))
        return Daemon(
            "standin",
            [*self.prefix, sys.executable, *words],
            self.names.central_state,
            self._environment("standin"),
            ELSEWHERE,
        )

    def _product(self, name: str, command: str, *flags: str, identity: str) -> Daemon:
        words = [*self.prefix, sys.executable, "-m", "virtnet.cli.main", command, *flags]
        return Daemon(name, words, self.names.central_state, self._environment(identity), ELSEWHERE)

    def _environment(self, identity: str) -> dict[str, str]:
        return {"KUBECONFIG": str(self.names.kubeconfig(identity)), "PYTHONUNBUFFERED": "1"}

    def _listens(self, port: int) -> bool:
        def probe() -> bool:
            with contextlib.suppress(OSError), socket.create_connection((CENTRAL_ADDRESS, port), timeout=1):
                return True
            return False

        return netns.inside(self.netns, probe)
