"""One driver per NIC kind, behind one protocol."""
