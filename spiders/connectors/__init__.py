"""One connector for each kind of source. To add a kind: docs/adding-a-source.md."""
