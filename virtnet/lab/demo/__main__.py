"""``python -m virtnet.lab.demo``: exits 0 when every promise was kept; JSON goes to $DEMO_JSON."""

import signal
import sys

from virtnet.lab.demo.show import Show

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # so that its lab and its huge pages go in any case
    sys.exit(Show().run())
