"""What other programs speak to a feature in: one form of request and answer, and the wires that it comes and goes over.

A wire reads a body into a `CompletionRequest`, and writes an `Answer`, or the `Event`s of a stream, in its own words. Whoever
answers, a feature, a group or an agent, is a `Responder`, and knows of no wire.
"""
