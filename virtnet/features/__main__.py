"""``python -m virtnet.features crds``: writes the CustomResourceDefinitions of every kind, and the list of them."""

import sys
from pathlib import Path

from virtnet.api.crds import files
from virtnet.features import MODELS

if __name__ == "__main__":
    for name, content in files(MODELS).items():
        (Path(sys.argv[1]) / name).write_text(content)
