"""Random faults in a lab, from a plan that can be played again, and what must hold after each batch of them."""
