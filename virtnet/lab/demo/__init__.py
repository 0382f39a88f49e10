"""The main job on real input: pinned, booted, moved, handed over, and gone without a trace."""
