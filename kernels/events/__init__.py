"""Events of sensors to tensors, and filters on events."""
