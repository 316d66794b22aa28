"""Triton as HemaServe uses it: a client to it, the wheel's Triton embedded in development, and a backend for that."""
