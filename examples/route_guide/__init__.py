"""RouteGuide: a map of places, with one method of each of the four call patterns."""
