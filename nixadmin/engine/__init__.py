"""plan, provision, verify and uninstall: readings of one list of resources."""
