"""The state machine of a live-migration handoff. Pure."""
