"""The YOLOv6 design space as data: candidates, space, variants, cost. Importing it needs no torch."""
