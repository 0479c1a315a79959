"""The emulator's own interface: ``/_emulator`` and the HTML page."""
