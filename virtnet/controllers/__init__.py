"""kopf handlers that note what changed, and the reconciler that makes it so."""
