"""The node daemon: attaches NICs to pods and to Open vSwitch."""
