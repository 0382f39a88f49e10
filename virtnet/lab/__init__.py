"""A cluster in a box: real API server, real OVN, real VMs in network namespaces."""
