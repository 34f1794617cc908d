"""F3: the web pages of duty officers and analysts. Reads queries, acts only through the life cycle."""
