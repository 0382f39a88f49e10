"""virtnet: a network for KubeVirt virtual machines that moves with them."""

__version__ = "0.1.0"
