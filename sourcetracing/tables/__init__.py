"""Tables from scores: the figures, the published ones beside them, what is sure, which claims hold; text and pictures of them."""
