"""One program a peer: each serves and calls ``bench.proto`` the way its own documentation shows."""
