"""The generator: from ``.proto`` files to typed Python services and stubs.

``plugin`` is the protoc plugin, ``generation`` is what ``gyr generate`` does. Nothing here needs
the runtime: protoc starts the plugin once a run, and waits for it.
"""
