"""The demo: real releases of the example shop, with a client outside that writes down every request."""
