"""Topics, processes and time: everything that touches the world outside of the protocol.

Transports, the runner that feeds roles from topics, the journal, keystores, configuration and the
command line live here. It knows no cryptography and no protocol step: a role gets values and returns
values, and nothing below this package imports it. Start with `pipeline.commands.main`, the command
`privml`.
"""
