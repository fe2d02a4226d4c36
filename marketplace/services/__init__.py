"""Every change of the marketplace, one module per part of the business."""
