"""The page: what a browser sees. A client of the owner's API, in the gateway's own process."""
