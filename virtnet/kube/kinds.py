"""The kinds of objects that virtnet reads and writes, as the API server's paths name them."""

from dataclasses import dataclass
from urllib.parse import quote

from virtnet.api import GROUP, VERSION, Resource


@dataclass(frozen=True)
class Kind:
    """One collection of the API server. The core group is ``""``."""

    group: str
    version: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The URL path of the collection, or of one object of it.

        >>> Kind("", "v1", "pods").path("demo", "db")
        '/api/v1/namespaces/demo/pods/db'
        >>> Kind("virtnet.dev", "v1alpha1", "addressleases", namespaced=False).path(name="10.0.0.5.blue.demo")
        '/apis/virtnet.dev/v1alpha1/addressleases/10.0.0.5.blue.demo'

        Raises ValueError where the kind's scope and the namespace contradict each other.
        """
        if namespace and not self.namespaced:
            raise ValueError(f"{self} has cluster scope, but the namespace {namespace} was given")
        if name and self.namespaced and not namespace:
            raise ValueError(f"{self} {name} needs a namespace")
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        rest = "".join(f"/{quote(part, safe='')}" for part in (name, subresource) if part)
        return f"{root}{scope}/{self.plural}{rest}"

    def __str__(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural


def of(model: type[Resource]) -> Kind:
    """The collection of one of virtnet's own kinds."""
    return Kind(GROUP, VERSION, model.crd.plural, namespaced=model.crd.namespaced)


PODS = Kind("", "v1", "pods")
NODES = Kind("", "v1", "nodes", namespaced=False)
NAMESPACES = Kind("", "v1", "namespaces", namespaced=False)
EVENTS = Kind("events.k8s.io", "v1", "events")
LEASES = Kind("coordination.k8s.io", "v1", "leases")
CRDS = Kind("apiextensions.k8s.io", "v1", "customresourcedefinitions", namespaced=False)
VMS = Kind("kubevirt.io", "v1", "virtualmachines")
VMIS = Kind("kubevirt.io", "v1", "virtualmachineinstances")
VMIMS = Kind("kubevirt.io", "v1", "virtualmachineinstancemigrations")
SERVICE_CIDRS = Kind("networking.k8s.io", "v1", "servicecidrs", namespaced=False)
STATEFUL_SETS = Kind("apps", "v1", "statefulsets")
IPAM_CLAIMS = Kind("k8s.cni.cncf.io", "v1alpha1", "ipamclaims")
NETWORK_POLICIES = Kind("networking.k8s.io", "v1", "networkpolicies")
MULTI_NETWORK_POLICIES = Kind("k8s.cni.cncf.io", "v1beta1", "multi-networkpolicies")
NADS = Kind("k8s.cni.cncf.io", "v1", "network-attachment-definitions")
