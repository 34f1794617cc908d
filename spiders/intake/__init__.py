"""What is handed over instead of crawled: a watched folder, a push endpoint, a view of another database."""
