"""Writes a record of each attempt to a file before its answer is returned, and ships it to the store once.

::

    store       the Protocol of the store, and the unique key of a row
    lines       records as lines of a file
    segments    the files of a spool
    folders     the folder that one process writes; one shipper at a time reads it
    spool       writes records on the calling thread
    shipper     adds the records of all processes to the store
"""
