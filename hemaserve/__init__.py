"""HemaServe's client, and what its services share: the contract, cells, geometry, imaging and counting.

Importing this package is cheap and pulls in nothing; import the module that you need.
"""
