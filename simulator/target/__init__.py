"""The server under test: how it is started, asked over HTTP and ended."""
