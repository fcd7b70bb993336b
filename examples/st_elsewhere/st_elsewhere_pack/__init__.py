"""House rules of St Elsewhere, an invented hospital."""
