"""Device profiles: the boards we ship, and the loading and checking of anyone's."""
