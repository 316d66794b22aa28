"""Files and requests that no microscope and no client of ours makes: material for tests, benchmarks and fuzzing."""
