"""The services: each folder is one process, `runtime` is what all of them share, `triton` is where networks run."""
