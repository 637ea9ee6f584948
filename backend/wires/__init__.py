"""The HTTP protocols of other programs, called wires, and the one form of request and answer that all of them translate to.

A wire parses a body into a `CompletionRequest`, and writes an `Answer`, or the `Event`s of a stream, in its own form. A
`Responder`, which stands for a feature, a group or an agent, produces the answer and knows nothing of wires.
"""
