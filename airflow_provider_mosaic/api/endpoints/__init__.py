"""The endpoints of the Mosaic API, one module a resource: calls, and the models of their responses."""
