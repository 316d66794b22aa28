"""Measuring HemaServe on labelled images, through the running services.

For a laboratory that verifies the system on its own images: `cells` (one cell an image, one folder a type),
`detections` (boxes in YOLO format) and `fields` (VOC boxes and the types of a field's white cells). `metrics`,
`guessing`, `matching` and `average_precision` are pure; `datasets` reads folders; `asking` keeps the services busy.
"""
