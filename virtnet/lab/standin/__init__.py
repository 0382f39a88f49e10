"""A stand-in for what a lab has no room for: kube-scheduler, kubelet with Multus, and KubeVirt.

It writes what they write, in their order, and runs real QEMUs in the layout of KubeVirt's bridge binding, so that the
product meets in the lab what it meets in a cluster. The product never knows of it.
"""
