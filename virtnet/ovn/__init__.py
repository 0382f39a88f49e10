"""OVN: the only importer of ovsdbapp."""
