"""Flask and PyTorch eager: the app that the literature deploys."""
