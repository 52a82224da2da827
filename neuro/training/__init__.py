"""Learning: rules that write gradients, losses, the trainer around them, and what is measured."""
