"""The admission service: pins VMs, marks launcher pods, validates Subnets."""
