"""No leak to the host, no hidden synchronisation, no edited argument, no changed dtype."""
