"""The HTTP protocols of other programs (wires), and the one form of request and answer that all of them translate to.

A wire reads a body into a `CompletionRequest`, and writes an `Answer`, or the `Event`s of a stream, in its own form. A
`Responder`, which is a feature, a group or an agent, answers independently of the wire.
"""
