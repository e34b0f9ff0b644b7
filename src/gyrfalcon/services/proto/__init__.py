"""gRPC's own service definitions, and what is generated from them (`make gen`)."""
