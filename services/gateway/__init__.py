"""The gateway: fields and smears in, cells and differentials out."""
