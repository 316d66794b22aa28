"""The whole stack on one machine: Triton and the three services as child processes. `python -m services.stack`."""
