"""A real control plane: etcd and kube-apiserver, with an authority and identities of their own.

It has no controller manager: nothing collects what a deleted owner leaves behind, deleted namespaces stay Terminating,
and no service accounts come by themselves.
"""

import csv
import random
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from virtnet.lab import audit, readiness
from virtnet.lab.binaries import Binaries
from virtnet.lab.certificates import Authority, Pair
from virtnet.lab.daemon import Daemon, DaemonError

READY_SECONDS = 180.0

ETCD, APISERVER = "etcd", "kube-apiserver"

WEBHOOK_CLIENT = "kube-apiserver"
"""Who the API server is to its webhooks."""

WEBHOOK_PLUGINS = ("Mutating", "Validating")


@dataclass(frozen=True)
class Identity:
    """Somebody who is known to the API server by a token. ``name`` is that of the kubeconfig."""

    name: str
    user: str
    uid: str
    token: str
    groups: tuple[str, ...] = ()


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses, below those that outgoing connections take while a server restarts."""
    for port in random.sample(range(20000, 32000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise DaemonError("100 random ports of 127.0.0.1 are all in use")


@dataclass(frozen=True, kw_only=True)
class ControlPlane:
    """One control plane. All that it knows is in its state directory, so a later process can take it over."""

    state: Path
    address: str = "127.0.0.1"
    """Where both listen. Others reach only the API server there."""
    port: int = 6443
    etcd_port: int = 2379
    etcd_peer_port: int = 2380
    names: tuple[str, ...] = ()
    """Further DNS names and addresses for the server's certificate."""
    prefix: tuple[str, ...] = ()
    """What runs a command in the right place: ``("ip", "netns", "exec", NAMESPACE)``."""
    identities: tuple[Identity, ...] = ()
    audited: bool = False
    """Whether it writes down what virtnet's processes ask of it."""
    flags: tuple[str, ...] = ()
    """Further flags of kube-apiserver."""
    environment: Mapping[str, str] = field(default_factory=dict)
    nice: int = 0

    @classmethod
    def local(cls, state: Path, **settings: Any) -> "ControlPlane":
        """One on free ports of 127.0.0.1, which dies with the thread that starts it: for tests."""
        return cls(
            state=state,
            port=free_port(),
            etcd_port=free_port(),
            etcd_peer_port=free_port(),
            prefix=("setpriv", "--pdeathsig", "KILL"),
            **settings,
        )

    @property
    def server(self) -> str:
        """The API server's URL."""
        return f"https://{self.address}:{self.port}"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.kubeconfig_of("admin")

    def kubeconfig_of(self, name: str) -> Path:
        """The kubeconfig of an identity."""
        return self.state / "kubeconfigs" / f"{name}.yaml"

    @cached_property
    def authority(self) -> Authority:
        """Who signs the certificates here; webhooks can have theirs from it."""
        return Authority(self.state / "pki")

    @cached_property
    def binaries(self) -> Binaries:
        return Binaries.find()

    @cached_property
    def etcd(self) -> Daemon:
        client, peer = (f"http://{self.address}:{port}" for port in (self.etcd_port, self.etcd_peer_port))
        return self._daemon(
            ETCD,
            self.binaries.etcd,
            f"--data-dir={self.state / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",  # the machine is the lab: when it fails, so does everything else
            "--logger=zap",
            "--log-level=warn",
        )

    @cached_property
    def apiserver(self) -> Daemon:
        served = self.authority.server("apiserver", ("localhost", "kubernetes.default.svc", self.address, *self.names))
        accounts = self.authority.signing_key("service-accounts")
        return self._daemon(
            APISERVER,
            self.binaries.apiserver,
            f"--etcd-servers=http://{self.address}:{self.etcd_port}",
            f"--bind-address={self.address}",
            f"--advertise-address={self.address}",
            f"--secure-port={self.port}",
            "--endpoint-reconciler-type=none",  # it refuses to publish a loopback address, and nobody looks
            f"--cert-dir={self.state / 'pki'}",
            f"--tls-cert-file={served.certificate}",
            f"--tls-private-key-file={served.key}",
            f"--client-ca-file={self.authority.root.certificate}",
            f"--token-auth-file={self._tokens}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={accounts}",
            f"--service-account-signing-key-file={accounts}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            # NamespaceLifecycle and both kinds of webhooks are on by default; ServiceAccount needs a controller.
            "--disable-admission-plugins=ServiceAccount",
            f"--admission-control-config-file={self._admission}",
            *(audit.flags(self.state) if self.audited else ()),
            *self.flags,
        )

    def start(self) -> None:
        """Start what does not run, and wait until the API server is ready. Raises Missing, DaemonError."""
        self._write_identities()
        self._write_admission()
        if self.audited:
            audit.write_policy(self.state)
        self.etcd.start()
        self.apiserver.start()
        self.wait_until_ready()

    def stop(self) -> None:
        """End both, and need nothing but the pid files for it. What they know stays in the state directory."""
        for name in (APISERVER, ETCD):
            # The API server has nothing to lose, and would wait for its watches to end.
            Daemon(name, (), self.state).stop(grace=1)

    def wait_until_ready(self) -> None:
        """Until /readyz says so. Raises DaemonError when the API server ends instead, or is not ready in a minute."""
        admin = self._admin
        pid = self.apiserver.pid
        where = (self.address, str(self.port), str(self.authority.root.certificate))
        probe = [*where, str(admin.certificate), str(admin.key), str(pid or 0), str(READY_SECONDS)]
        said = subprocess.run(
            [*self.prefix, sys.executable, "-I", "-S", readiness.__file__, *probe],
            capture_output=True,
            text=True,
            check=False,
        )
        if said.returncode:
            words = "\n".join(daemon.last_words() for daemon in (self.etcd, self.apiserver))
            raise DaemonError(f"the API server at {self.server} is not ready: {said.stderr}\n{words}")

    def _daemon(self, name: str, *command: str) -> Daemon:
        return Daemon(name, (*self.prefix, *command), self.state, self.environment, self.nice)

    @property
    def _tokens(self) -> Path:
        return self.state / "pki" / "tokens.csv"

    @property
    def _admin(self) -> Pair:
        return self.authority.client("admin", groups=("system:masters",))

    @property
    def _admission(self) -> Path:
        return self.state / "pki" / "admission.yaml"

    def _write_admission(self) -> None:
        """By which certificate webhooks know the API server (AdmissionConfiguration, kubeConfigFile)."""
        own = self.authority.client(WEBHOOK_CLIENT)
        kubeconfig = self.state / "pki" / "webhooks.yaml"
        user = {"name": "*", "user": {"client-certificate": str(own.certificate), "client-key": str(own.key)}}
        kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", "users": [user]}))
        configuration = {
            "apiVersion": "apiserver.config.k8s.io/v1",
            "kind": "WebhookAdmissionConfiguration",
            "kubeConfigFile": str(kubeconfig),
        }
        plugins = [{"name": f"{name}AdmissionWebhook", "configuration": configuration} for name in WEBHOOK_PLUGINS]
        content = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration", "plugins": plugins}
        self._admission.write_text(yaml.safe_dump(content))

    def _write_identities(self) -> None:
        admin = self._admin
        self._write_kubeconfig("admin", {"client-certificate": str(admin.certificate), "client-key": str(admin.key)})
        for identity in self.identities:
            self._write_kubeconfig(identity.name, {"token": identity.token})
        self._tokens.touch(mode=0o600)
        with self._tokens.open("w", newline="") as file:
            rows = csv.writer(file)
            for identity in self.identities:
                rows.writerow((identity.token, identity.user, identity.uid, ",".join(identity.groups)))

    def _write_kubeconfig(self, name: str, user: dict[str, str]) -> None:
        """Certificates are named by path: clients unpack embedded ones into files that they leave behind."""
        cluster = {"server": self.server, "certificate-authority": str(self.authority.root.certificate)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": name}}],
            "current-context": "lab",
        }
        path = self.kubeconfig_of(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
