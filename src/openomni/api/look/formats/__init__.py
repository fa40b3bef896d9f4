"""How moments are written on every page, the admin's too."""
