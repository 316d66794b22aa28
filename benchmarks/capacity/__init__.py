"""How the stack grows: a simulation of its queues, fed with measured service times, and autoscaling tried on it."""
