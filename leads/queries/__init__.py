"""Every cross-model read of leads, by page."""
