"""The online retail back end: the orders of a shop, kept in a database and served over gRPC."""
