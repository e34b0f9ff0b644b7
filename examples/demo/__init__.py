"""A guided tour: starts the servers, calls everything, checks every answer."""
