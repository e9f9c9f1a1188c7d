"""Networks, pure torch: they know nothing of files, settings or corpora. The entries of sourcetracing/settings name them."""
