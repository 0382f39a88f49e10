"""Annotations that say something of each network of a VM or pod: JSON objects, whose keys are the networks."""

import json
from typing import Any


def read_by_network(text: str | None) -> dict[str, Any]:
    """Network -> what is said of it; nothing where there is no annotation. Raises ValueError, which says what it is."""
    try:
        found = json.loads(text) if text else {}
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise ValueError("it is no object")  # noqa: TRY004 - of a text
    return found
