"""F2: fetch. Public pages in, posts out; knows nothing of sentiment or alerts."""
