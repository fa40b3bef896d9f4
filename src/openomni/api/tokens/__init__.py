"""Makes and revokes tokens over REST. It stands above `places`, for a token may be limited to a site or a device."""
