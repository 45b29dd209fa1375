"""The command line: one module per command, and what all of them share.

A command reads options and files, calls the pipeline and hands its result to `output`. It must not hold
protocol logic or decide an exit code of its own. Modules that take long to import (numpy, the learners,
the Kafka client) are imported inside the command that needs them, so that `privml --help` is quick.
Start with `pipeline.commands.main`.
"""
