"""A real Kafka broker for the tests: its jars, its process, what can be done to it."""
