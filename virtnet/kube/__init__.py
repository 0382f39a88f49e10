"""The Kubernetes API: the only importer of its client."""
