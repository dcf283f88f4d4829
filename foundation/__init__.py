"""Ground floor: what every package may use. Light on purpose: standard library and click only."""
