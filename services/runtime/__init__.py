"""How any service starts, stops, is observed and refuses."""
