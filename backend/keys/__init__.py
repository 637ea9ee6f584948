"""Users' own keys: enrolled, kept, lent to one request at a time.

::

    masters    the keys that lock all others, from the environment or a file
    vault      seals a key for one place; opens it there and nowhere else
    lent       a key on its way: opened when a call needs it, without a value when the request is over
    trouble    why a provider refuses a key
    store      what has to be kept, as a Protocol; `backend.database.keys` keeps it
    removals   which keys were removed, here or by another process
    loan       what a request is lent: its keys, which of them serve, who else may pay
    keychain   enrols, lists, removes, and lends a user's keys to a request
    rotation   a new master key for everything
    pace       how often keys may be tried
    trial      whether a key works, by one cheap call
    watch      what calls tell of keys: those that are refused, for their owners to hear of
"""
