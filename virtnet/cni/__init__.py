"""The CNI plugin that the runtime executes."""
