"""The devices that fast NICs are made of: what the kernel tells of them is read, and made into what is published."""
