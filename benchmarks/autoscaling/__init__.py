"""Autoscaling that was tried: what Kubernetes' autoscalers do with our signals, on traces of a laboratory's load."""
