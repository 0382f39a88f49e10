"""The network binding plugin of KubeVirt for vhost-user: a sidecar of virt-launcher's that rewrites a domain's XML."""


class DomainRefused(Exception):  # noqa: N818 - says what became of the request
    """What the plugin cannot serve; the text says what, and what to do. It ends in the VMI's conditions."""
