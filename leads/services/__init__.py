"""Every change of a lead and of its deal, by room."""
