"""What calls cost, beside the peers that do the same work, on loopback providers: no network, no key."""
