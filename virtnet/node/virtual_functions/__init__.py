"""Virtual functions: where they are, what their physical function has set for them, and their interfaces."""
