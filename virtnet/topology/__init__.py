"""From resources to OVN rows, and from two sets of rows to the operations between them. Pure."""
