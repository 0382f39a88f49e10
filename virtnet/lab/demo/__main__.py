"""``python -m virtnet.lab.demo``: exits 0 when every promise was kept; JSON goes to $DEMO_JSON."""

import sys

from virtnet.lab.demo.show import Show

if __name__ == "__main__":
    sys.exit(Show().run())
