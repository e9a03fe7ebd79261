"""Deep linear networks against linear algebra."""
