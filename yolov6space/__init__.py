"""The YOLOv6 design space as data: candidates, space, official variants, cost. Importing it needs no torch."""
