"""Where and with whom: sites, devices, participants and their consent."""
