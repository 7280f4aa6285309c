"""How the default weights were made. `bench` puts the engine's layer on the path."""

import bench  # noqa: F401
