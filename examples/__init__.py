"""The two classic gRPC examples, each a package of its own: greeter and route_guide."""
