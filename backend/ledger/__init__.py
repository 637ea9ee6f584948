"""Writes each attempt's record to a local spool before its answer is handed on, and ships it to the store exactly once.

::

    store       where rows end up, and what tells one from another
    lines       records as lines of a file
    segments    the files of a spool
    folders     what one process has written; one shipper at a time reads it
    spool       takes records on the calling path
    shipper     adds them to the store, whoever wrote them
"""
